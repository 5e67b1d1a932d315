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


def open_run(settings: Settings, *, fresh: bool) -> tuple[RunFolder, bool]:
    """The run to carry on, or a new one, and whether it is new; a new one needs data that can be read.

    Raises DatasetNotFound or MalformedFile, before anything is stopped, started or forgotten, where a new run has none; and
    IngestError where the home holds another dataset. A run that has ingested its data is carried on without it.
    """
    try:
        source, unreadable = current_dataset(settings), None
    except (DatasetNotFound, MalformedFile) as error:
        source, unreadable = None, error
    folder, new = RunFolder.open(settings.paths.runs, fresh=fresh, source=source)
    if unreadable is not None and (new or folder.output("ingest") is None):
        if new:
            folder.folder.rmdir()  # else it would be the one to carry on
        raise unreadable
    return folder, new


def current_dataset(settings: Settings) -> str:
    """Fingerprint of the dataset that the settings choose.

    Raises DatasetNotFound or MalformedFile where it is not there or lacks a column, and IngestError where the home holds
    another one.
    """
    adapter = open_adapter(settings)
    adapter.refuse_missing()
    source = adapter.fingerprint()
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
    for place in (paths.stream, paths.broker, paths.features, paths.snapshots, paths.releases, paths.runs / "replays"):
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
