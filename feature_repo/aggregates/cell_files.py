"""Cells in files: the cells of all keys of a family as of a moment, computed in passes that fit into memory.

Events are coded once for all families (`code_events`); each pass then computes the cells of one share of the keys
(`write_cells`) and leaves one Parquet file with the columns of `batch_cells`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.aggregates.batch_cells import cell_count, coded_cells_as_of, meeting_count
from feature_repo.aggregates.batch_engine import EngineLimits, open_engine
from feature_repo.aggregates.cell_columns import CELL_COLUMNS
from feature_repo.aggregates.coded_events import CODED_COLUMNS, coded_events
from feature_repo.aggregates.families import Family
from infra.storage import replace_atomically

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

# Memory that a group takes while it is summed up, measured on DuckDB with both threads busy; and the share of the limit
# that groups may fill, the rest being what reading and writing take.
BYTES_PER_CELL = 600
BYTES_PER_MEETING = 120
SHARE_FOR_GROUPS = 0.7
MOST_CELLS_A_PART = 6_000_000  # whoever reads a part holds 256 bytes a cell

Tell = Callable[[int, int], None]  # hears how many steps are done, and of how many


def nobody(done: int, of: int) -> None:
    """Progress that no one listens to."""


class CodedEventsMissing(FileNotFoundError):
    """No coded events where the batch engine was told to look for them."""


def code_events(events: ir.Table, target: Path, connection: Backend) -> None:
    """Write `events` (a table of `connection` with the columns of `event_log.read_events`) to `target`, coded."""
    with replace_atomically(target) as temporary:
        connection.to_parquet(coded_events(events), temporary, compression="lz4")


def code_event_files(files: Sequence[Path], folder: Path, limits: EngineLimits, tell: Tell = nobody) -> list[Path]:
    """Code Parquet files of events one by one into files of the same names in `folder`; returns those."""
    coded = []
    with open_engine(limits) as connection:
        for number, file in enumerate(files, 1):
            coded.append(folder / file.name)
            code_events(connection.read_parquet(file), coded[-1], connection)
            tell(number, len(files))
    return coded


def write_cells(
    coded: Sequence[Path],
    family: Family,
    moment_us: int,
    folder: Path,
    limits: EngineLimits,
    tell: Tell = nobody,
) -> int:
    """Write the cells of `family` from the coded events before `moment_us` to `folder/<family>/part-*.parquet`.

    Each part holds the whole of its keys' cells, in no order. What the folder held before is replaced when all parts are
    written. Returns the number of cells. Raises CodedEventsMissing where `coded` names no file.
    """
    if not coded:
        raise CodedEventsMissing(f"no coded events for family {family.name!r}; write them with code_events first")
    with open_engine(limits) as connection, _replaced_folder(folder / family.name) as parts:
        events = connection.read_parquet(list(coded)).select(*CODED_COLUMNS)
        passes = passes_needed(events, family, limits.memory_gb)
        for number in range(passes):
            cells = coded_cells_as_of(_share_of_keys(events, family, number, passes), family, moment_us)
            connection.to_parquet(cells, parts / f"part-{number:04d}.parquet", compression="lz4")
            tell(number + 1, passes)
        return sum(pq.read_metadata(part).num_rows for part in parts.glob("*.parquet"))


def passes_needed(coded: ir.Table, family: Family, memory_gb: float) -> int:
    """Into how many shares the keys of `family` must be parted, so that the groups of one fit into memory."""
    cells, meetings = (count(coded, family).to_pyarrow().as_py() or 0 for count in (cell_count, meeting_count))
    needed = cells * BYTES_PER_CELL + meetings * BYTES_PER_MEETING
    return max(1, math.ceil(needed / (SHARE_FOR_GROUPS * memory_gb * 1e9)), math.ceil(cells / MOST_CELLS_A_PART))


def cell_parts(folder: Path, family: Family) -> Iterator[pa.Table]:
    """The parts that `write_cells` left, one after the other. Raises FileNotFoundError where there are none."""
    parts = sorted((folder / family.name).glob("part-*.parquet"))
    if not parts:
        raise FileNotFoundError(f"{folder / family.name} holds no cells; run `mixer features backfill {family.name}`")
    for part in parts:
        yield pq.read_table(part, columns=list(CELL_COLUMNS))


def _share_of_keys(events: ir.Table, family: Family, number: int, of: int) -> ir.Table:
    """The events of every `of`-th key. Ids are numbered densely enough that their remainders part them evenly."""
    if of == 1:
        return events
    remainder = ibis.literal(0, "int64")
    for name in family.ids:
        remainder = (remainder + events[name].cast("int64") % of) % of
    return events.filter(remainder.abs() == number)


@contextmanager
def _replaced_folder(target: Path) -> Iterator[Path]:
    """Yield an empty sibling of `target` that takes its place when the block ends well."""
    fresh, stale = (target.with_name(f".{target.name}.{word}") for word in ("writing", "replaced"))
    for leftover in (fresh, stale):  # of a run that was killed
        rmtree(leftover, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield fresh
    if target.exists():
        target.rename(stale)
    fresh.rename(target)
    rmtree(stale, ignore_errors=True)
