"""Backfill of an aggregate family: its cells from the lake's whole history, and from them the rows of its Feast view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.aggregates.batch_cells import to_cells
from feature_repo.aggregates.batch_engine import EngineLimits, open_engine
from feature_repo.aggregates.cell_files import cell_parts, code_events, write_cells
from feature_repo.aggregates.families import Family
from feature_repo.aggregates.packed_keys import pack_keys
from feature_repo.event_log import end_of_days, read_events
from feature_repo.lake import Lake
from feature_repo.offline_files import COMPRESSION, TIMESTAMP, source_file
from feature_repo.view_schemas import PACKED, aggregates_view
from infra.storage import replace_atomically

CELLS = "cells"  # folder of the families' cells, under the features folder
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Tell = Callable[[str, int, int], None]  # hears what is being done, how many steps are done, and of how many


@dataclass(frozen=True)
class Backfill:
    """What a backfill left: `keys` rows in `view_file`, from `cells` cells under `cell_folder`, of events before `as_of`."""

    family: str
    as_of: datetime
    cells: int
    keys: int
    cell_folder: Path
    view_file: Path


class NoHistory(LookupError):
    """The lake holds no events to backfill from."""


def backfill(
    lake: Lake, family: Family, features: Path, limits: EngineLimits, as_of: datetime | None = None, *, tell: Tell
) -> Backfill:
    """Compute `family` from the events of `lake` before `as_of` (default: all) and write its view's rows under `features`.

    Raises NoHistory where the lake holds no event day that begins before `as_of`.
    """
    days = [day for day in lake.event_days() if as_of is None or _first_moment(lake, day) < as_of]
    if not days:
        raise NoHistory(f"{lake.root} holds no events{'' if as_of is None else f' before {as_of:%Y-%m-%d %H:%M} UTC'}")
    limits.scratch.mkdir(parents=True, exist_ok=True)
    coded = Path(mkdtemp(prefix="coded-", dir=limits.scratch))
    try:
        files = _code_days(lake, days, coded, limits, tell)
        # Sliding counts can be read at the moment of the cells and later, so "all" ends with the newest event and no later.
        until = as_of or _newest(files) + MICROSECOND
        until_us = (until - EPOCH) // MICROSECOND
        cells = write_cells(files, family, until_us, features / CELLS, limits, partial(tell, f"cells of {family.name}"))
    finally:
        rmtree(coded)
    view_file = source_file(features, aggregates_view(family.name))
    keys = write_view_rows(features / CELLS, family, view_file)
    return Backfill(family.name, until, cells, keys, features / CELLS / family.name, view_file)


def write_view_rows(cells: Path, family: Family, target: Path) -> int:
    """Write the packed rows of the cells that `write_cells` left in `cells` to `target`, part by part; returns the keys."""
    keys = 0
    schema = _row_schema(family)
    with replace_atomically(target) as temporary, pq.ParquetWriter(temporary, schema, compression=COMPRESSION) as rows:
        for part in cell_parts(cells, family):
            packed = pack_keys(to_cells(part))
            stamps = pa.array(packed.updated_at + 1, pa.timestamp("us", tz="UTC"))
            ids = [packed.a, packed.b][: len(family.ids)]
            rows.write_table(pa.table([*ids, packed.packed, stamps], schema=schema))
            keys += len(packed.a)
    return keys


def _row_schema(family: Family) -> pa.Schema:
    ids = [(name, pa.int64()) for name in family.ids]
    return pa.schema([*ids, (PACKED, pa.binary()), (TIMESTAMP, pa.timestamp("us", tz="UTC"))])


def _code_days(lake: Lake, days: list[date], folder: Path, limits: EngineLimits, tell: Tell) -> list[Path]:
    """Code the lake's events, a day in memory at a time."""
    import ibis

    files = [folder / f"{day.isoformat()}.parquet" for day in days]
    with open_engine(limits) as connection:
        for number, (day, file) in enumerate(zip(days, files, strict=True), 1):
            events = read_events([lake], until=end_of_days([day], lake.day_offset), since=_first_moment(lake, day))
            code_events(ibis.memtable(events.to_arrow()), file, connection)
            tell("reading events", number, len(days))
    return files


def _newest(coded: list[Path]) -> datetime:
    """When the newest of the coded events happened."""
    return EPOCH + MICROSECOND * pl.scan_parquet(coded).select(pl.col("at").max()).collect().item()


def _first_moment(lake: Lake, day: date) -> datetime:
    return end_of_days([day - timedelta(days=1)], lake.day_offset) + MICROSECOND
