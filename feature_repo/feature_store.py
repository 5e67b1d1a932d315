"""Feast, opened from the settings: registry, DuckDB offline store, SQLite or Redis online store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from feature_repo.sources import TIMESTAMP, VIEW_NAMES, source_file
from infra.settings import Settings
from infra.storage import replace_atomically

if TYPE_CHECKING:
    from feast import FeatureStore

    from feature_repo.lake import Lake

PROJECT = "home_mixer"
WRITE_BATCH = 10_000  # rows held in memory at once while materialising
MATERIALISED = "materialised.json"  # a running stream worker sees it change and writes its newer values again
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class FeatureTablesMissing(LookupError):
    """The offline tables were not built yet."""


def open_store(settings: Settings) -> FeatureStore:
    """The feature store of `settings`; opening creates no table (see `apply`)."""
    from feast import FeatureStore, RepoConfig
    from feast.repo_config import RegistryConfig

    features = settings.paths.features
    features.mkdir(parents=True, exist_ok=True)
    if settings.online_store == "redis":
        online = {"type": "redis", "connection_string": settings.redis_url}
    else:
        _share_between_processes(settings)
        online = {"type": "sqlite", "path": str(online_file(settings))}
    return FeatureStore(
        config=RepoConfig(
            project=PROJECT,
            provider="local",
            # Never refreshed by itself: a refresh holds up the request that meets it, and a process's definitions are fixed.
            registry=RegistryConfig(path=str(features / "registry.db"), cache_ttl_seconds=0),
            online_store=online,
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
            materialization={"online_write_batch_size": WRITE_BATCH},
        )
    )


def online_file(settings: Settings) -> Path:
    """File of the SQLite online store."""
    return settings.paths.features / "online.db"


def apply(settings: Settings) -> list[str]:
    """Register entities, views and services; returns the names of all registered objects."""
    from feature_repo.entities import ENTITIES
    from feature_repo.feature_services import feature_services
    from feature_repo.views import feature_views

    store = open_store(settings)
    views = feature_views(settings.paths.features)
    services = feature_services(views)
    store.apply([*ENTITIES.values(), *views, *services])
    return [
        *(f"entity {entity.name}" for entity in ENTITIES.values()),
        *(f"view {view.name}" for view in views),
        *(f"service {service.name}" for service in services),
    ]


def build_offline(settings: Settings, lakes: Sequence[Lake], until: datetime | None) -> dict[str, int]:
    """Write the offline rows of every view from the events of `lakes` at or before `until`; returns rows per view."""
    from feature_repo.offline import write_offline_rows  # brings Ibis and DuckDB, which serving never needs

    return write_offline_rows(settings, lakes, until)


def materialise(settings: Settings, end: datetime) -> dict[str, int]:
    """Write the newest row of every key at or before `end` to the online store; returns keys written per view.

    Raises FeatureTablesMissing where `build_offline` has not run.
    """
    for view in VIEW_NAMES:
        if not source_file(settings.paths.features, view).exists():
            raise FeatureTablesMissing(f"no offline rows for view {view!r}; run build_offline (`mixer run features`) first")
    from feature_repo.views import ENTITY_OF

    store = open_store(settings)
    store.materialize(start_date=BEGINNING, end_date=end)
    with replace_atomically(settings.paths.features / MATERIALISED) as temporary:
        temporary.write_text(json.dumps({"end_us": round(end.timestamp() * 1e6)}))
    return {
        view: pl.scan_parquet(source_file(settings.paths.features, view))
        .filter(pl.col(TIMESTAMP) <= end)
        .select(pl.col(ENTITY_OF[view].column).n_unique())
        .collect()
        .item()
        for view in VIEW_NAMES
    }


def _share_between_processes(settings: Settings) -> None:
    """Put the SQLite file in write-ahead mode, a property of the file: readers then never wait for a writer.

    Feast opens the file in SQLite's default mode, in which a reader meets `database is locked` while another process writes.
    """
    with sqlite3.connect(online_file(settings), timeout=30) as connection:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
