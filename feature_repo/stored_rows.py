"""Training rows kept on disk: built once for the same events, days and feature code, then mapped by whoever asks again."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import structlog

from feature_repo.blocks import BLOCK_NAMES
from feature_repo.feature_rows import FeatureRows
from feature_repo.lake import Lake
from feature_repo.row_draw import RowDraw
from feature_repo.row_shards import DamagedRows, open_rows, write_rows
from feature_repo.training_rows import CHUNK_ROWS, known_until, row_pieces
from infra.settings import Settings

KEPT_FOLDERS = 4  # the newest: a training's, a challenger's, a drift check's, and one to spare
ABANDONED_AFTER_S = 86_400.0  # since an unfinished folder was begun; no training takes that long
_CODE = Path(__file__).parent  # what features are made of; a change of it makes other rows

log = structlog.get_logger("stored_rows")


def stored_rows(settings: Settings, lakes: Sequence[Lake], days: Sequence[date], draw: RowDraw | None = None) -> FeatureRows:
    """The rows of `point_in_time_rows`, bit for bit, mapped from `paths.training_rows`; built there where they are not yet.

    With a `draw` only the rows that it keeps.

    Building holds one piece of the rows at a time, beside what is known of the events; reading holds what is read. The newest
    KEPT_FOLDERS folders stay: rows that are mapped already can be read on after their folder was removed. A damaged folder is
    built anew. Raises ValueError where the days hold no impression.
    """
    folder = settings.paths.training_rows / stored_fingerprint(lakes, days, "" if draw is None else draw.name)
    try:
        rows = open_rows(folder)
        folder.touch()  # asked for now: it is kept longer
        return rows
    except FileNotFoundError:
        pass
    except DamagedRows as error:
        log.warning("stored rows are damaged and built anew", folder=str(folder), why=str(error))
        shutil.rmtree(folder, ignore_errors=True)
    write_rows(folder, row_pieces(settings, lakes, days, draw))
    _drop_old(folder)
    return open_rows(folder, verify=False)  # it was written just now


@contextmanager
def selected_rows(place: Path, rows: FeatureRows, index: np.ndarray) -> Iterator[FeatureRows]:
    """The rows at `index` (int64 (n,)) mapped from a folder of their own in `place`, which lasts as long as the block.

    Rows that lie apart cannot be a view; taken at once, they would all be in memory.
    """
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".selected-") as parent:
        folder = Path(parent) / "rows"
        write_rows(folder, (rows.take(index[start : start + CHUNK_ROWS]) for start in range(0, len(index), CHUNK_ROWS)))
        yield open_rows(folder, verify=False)


def stored_fingerprint(lakes: Sequence[Lake], days: Sequence[date], draw: str = "") -> str:
    """16 hex digits over the event files, tables, days, draw and code that the rows of `days` are made of."""
    offset = lakes[0].day_offset
    last = (known_until(days, offset).replace(tzinfo=None) + offset).date()
    digest = hashlib.sha256(json.dumps([str(day) for day in sorted(set(days))]).encode())
    digest.update(json.dumps([offset.total_seconds(), BLOCK_NAMES, _code_hash(), draw]).encode())
    for lake in lakes:
        digest.update(lake.fingerprint([day for day in lake.event_days() if day <= last]).encode())
        for name in ("posts", "users"):
            digest.update(lake.table_fingerprint(name).encode())
    return digest.hexdigest()[:16]


@cache
def _code_hash() -> str:
    digest = hashlib.sha256()
    for file in sorted([*_CODE.rglob("*.py"), *_CODE.rglob("*.[ch]")]):
        digest.update(f"{file.relative_to(_CODE)}".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _drop_old(newest: Path) -> None:
    """Remove all but the newest folders, and what a killed process left half-way.

    Another process may be removing the same one, hence no error where one is gone.
    """
    ages = {}
    for folder in newest.parent.iterdir():
        with suppress(FileNotFoundError):
            ages[folder] = folder.stat().st_mtime
    unfinished = [folder for folder in ages if folder.name.startswith(".")]
    finished = sorted(ages.keys() - set(unfinished) - {newest}, key=ages.__getitem__)
    abandoned = [folder for folder in unfinished if ages[folder] < time.time() - ABANDONED_AFTER_S]
    for folder in [*finished[: -(KEPT_FOLDERS - 1)], *abandoned]:
        shutil.rmtree(folder, ignore_errors=True)
