"""Feast, opened from the settings: registry, DuckDB offline store, SQLite or Redis online store."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from feature_repo.bulk_online.newest_rows import newest_rows
from feature_repo.bulk_online.read_ahead import read_ahead
from feature_repo.bulk_online.stored_rows import StoredRows, encode_rows
from feature_repo.bulk_online.writer import open_bulk_writer
from feature_repo.offline_files import VIEW_NAMES, source_file
from feature_repo.online_store import PROJECT, online_file
from feature_repo.view_schemas import AGGREGATE_VIEWS, VIEW_SCHEMAS
from infra.settings import Settings
from infra.storage import replace_atomically

if TYPE_CHECKING:
    from feast import FeatureStore

    from feature_repo.lake import Lake

WRITE_BATCH = 10_000  # rows held in memory at once while materialising
BATCHES_AHEAD = 3  # encoded and not yet written: views differ in which of the two takes longer
MATERIALISED = "materialised.json"  # a running stream worker sees it change and writes its newer values again
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class FeatureTablesMissing(LookupError):
    """The offline tables were not built yet."""


def open_store(settings: Settings, *, feasts_own: bool = False) -> FeatureStore:
    """The feature store of `settings`; opening creates no table (see `apply`).

    feasts_own: SQLite as Feast itself lays it out, with which the bench compares.
    """
    from feature_repo.quick_feast import FeatureStore, RegistryConfig, RepoConfig

    features = settings.paths.features
    features.mkdir(parents=True, exist_ok=True)
    if settings.online_store == "redis":
        online = {"type": "redis", "connection_string": settings.redis_url}
    else:
        from feature_repo.lean_sqlite import TYPE

        online = {"type": "sqlite" if feasts_own else TYPE, "path": str(online_file(settings))}
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


def apply(settings: Settings, *, feasts_own: bool = False) -> list[str]:
    """Register entities, views and services; returns the names of all registered objects. feasts_own: see `open_store`."""
    store = open_store(settings, feasts_own=feasts_own)  # first: it imports Feast quickly
    from feature_repo.entities import ENTITIES
    from feature_repo.feature_services import feature_services
    from feature_repo.views import feature_views

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


def views_with_rows(settings: Settings) -> list[str]:
    """Names of the views that can be materialised: all of the rankers', and the aggregate families that were built.

    Raises FeatureTablesMissing where `build_offline` has not run.
    """
    features = settings.paths.features
    for view in VIEW_NAMES:
        if not source_file(features, view).exists():
            raise FeatureTablesMissing(f"no offline rows for view {view!r}; run build_offline (`mixer run features`) first")
    return [*VIEW_NAMES, *(view for view in AGGREGATE_VIEWS if source_file(features, view).exists())]


def materialise(settings: Settings, end: datetime) -> dict[str, int]:
    """Write the newest row of every key at or before `end` to the online store; returns keys per view.

    The bulk writers store what `materialise_by_feast` would. On Redis a key that holds a row as new or newer keeps it.
    Raises FeatureTablesMissing where `build_offline` has not run.
    """
    store, written = open_store(settings), dict.fromkeys(views_with_rows(settings), 0)
    encoded = read_ahead(_newest_encoded(settings, list(written), end), BATCHES_AHEAD)
    with open_bulk_writer(settings) as writer, closing(encoded) as batches:
        for rows in batches:
            writer.write_encoded(rows)
            written[rows.view] += len(rows)
    for view in written:
        # What Feast's own materialisation leaves in the registry: up to when the view is online.
        store.registry.apply_materialization(store.get_feature_view(view), PROJECT, BEGINNING, end)
    _tell_materialised(settings, end)
    return written


def materialise_by_feast(settings: Settings, end: datetime, *, feasts_own: bool = False) -> None:
    """The same through Feast's own materialisation: row by row, an order of magnitude slower. It is what the bulk path is
    held equal to. Raises FeatureTablesMissing where `build_offline` has not run."""
    store = open_store(settings, feasts_own=feasts_own)
    store.materialize(start_date=BEGINNING, end_date=end, feature_views=views_with_rows(settings))
    _tell_materialised(settings, end)


def _newest_encoded(settings: Settings, views: Sequence[str], end: datetime) -> Generator[StoredRows]:
    for view in views:
        for rows in newest_rows(source_file(settings.paths.features, view), VIEW_SCHEMAS[view], end):
            yield encode_rows(VIEW_SCHEMAS[view], rows.ids, rows.values, rows.stamps_us)


def _tell_materialised(settings: Settings, end: datetime) -> None:
    with replace_atomically(settings.paths.features / MATERIALISED) as temporary:
        temporary.write_text(json.dumps({"end_us": round(end.timestamp() * 1e6)}))
