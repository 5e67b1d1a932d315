"""Before a new run: back to the morning of the first live day. Ingested tables, their ids and the model registry stay."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from feature_repo.datasets.adapter import DatasetNotFound, MalformedFile, open_adapter
from feature_repo.datasets.ingest import refuse_another_dataset
from feature_repo.ids import tables
from feature_repo.lake import Lake
from flows.demo.run_folder import RunFolder
from infra.settings import Settings

KEPT_TABLES = frozenset(tables.NAMES)  # of the platform's database: the lake is written in these numbers and codes


def current_dataset(settings: Settings) -> str | None:
    """Fingerprint of the dataset that the settings choose; None where it can't be read, but was ingested already.

    Raises IngestError where the home holds another dataset, and DatasetNotFound or MalformedFile where there is nothing to
    begin with, before the platform is started.
    """
    try:
        adapter = open_adapter(settings)
        adapter.refuse_missing()
        source = adapter.fingerprint()
    except (DatasetNotFound, MalformedFile):
        if settings.paths.lake.exists():
            return None
        raise
    refuse_another_dataset(adapter, source, *(Lake(place, adapter.day_offset) for place in _lakes(settings)))
    return source


def _lakes(settings: Settings) -> tuple[Path, Path]:
    return settings.paths.lake, settings.paths.holdout


def reset_live_state(settings: Settings, folder: RunFolder) -> None:
    """Forget what an earlier run lived through: streamed events, online features, broker log, releases and routes.

    The earlier run's ledger is kept as `platform-before.db` in the new run's folder.
    """
    paths = settings.paths
    lake = Lake(paths.lake)
    for part in lake.root.glob("events/day=*/stream-*.parquet"):
        part.unlink()
    for place in (paths.stream, paths.broker, paths.features, paths.snapshots, paths.runs / "replays"):
        shutil.rmtree(place, ignore_errors=True)
    database = paths.home / "platform.db"
    if database.exists():
        _forget_releases(database, folder.folder / "platform-before.db")


def _forget_releases(database: Path, copy: Path) -> None:
    """Copy the SQLite `database` to `copy`, and drop all of its tables but KEPT_TABLES."""
    copy.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        for (name,) in found.fetchall():
            if name not in KEPT_TABLES:
                connection.execute(f'DROP TABLE "{name}"')
        connection.commit()
