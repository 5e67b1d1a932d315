"""The batch engine: cells of every key as portable Ibis expressions (DuckDB here, Spark and warehouses beyond it).

Expressions have the columns of `cell_columns`; `to_cells` makes CELLs of their rows.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from feature_repo.aggregates.cell_columns import CELL_COLUMNS, DISTINCT_COLUMNS, FADED_COLUMNS, RING_COLUMNS
from feature_repo.aggregates.cell_sums import (
    BLOCK_US,
    as_blocks,
    blocks_of_updates,
    sums_of_blocks,
    sums_of_updates,
    with_block,
)
from feature_repo.aggregates.cells import BUCKET_US, ERA_US, empty_cells
from feature_repo.aggregates.coded_events import coded_events
from feature_repo.aggregates.event_updates import counterparts, keyed_events, meetings, updates
from feature_repo.aggregates.families import Family
from feature_repo.aggregates.measures import BUCKETS


def cells_as_of(events: ir.Table, family: Family, moment_us: int) -> ir.Table:
    """Expression of CELL_COLUMNS: the cells of every key of `family` from the events (columns of `event_log.read_events`)
    strictly before `moment_us`."""
    return coded_cells_as_of(coded_events(events), family, moment_us)


def coded_cells_as_of(coded: ir.Table, family: Family, moment_us: int) -> ir.Table:
    """`cells_as_of` of events that are coded already (`coded_events`)."""
    past = coded.filter(coded["at"] < moment_us)
    as_of = ibis.literal(moment_us, "int64")
    cells = sums_of_updates(updates(past, family), ["a", "b", "measure"], as_of).mutate(as_of_us=as_of)
    met = {
        column: meetings(past, family, other).group_by(["a", "measure"]).aggregate(met=lambda table: table.count())
        for column, other in counterparts(family)
    }
    return _with_distinct(cells, met, ["a", "measure"])


def cells_at(events: ir.Table, questions: ir.Table, family: Family) -> ir.Table:
    """Expression of CELL_COLUMNS with as_of_us = now_us: for each question its key's cells from the events strictly before its
    moment. A key that nothing happened to yet has no row.

    `questions` has key columns a (and b where the family has two ids) and now_us, int64; repeats are answered once. A
    question costs as many rows as its key has blocks of history and events in its last two blocks, not all its events.
    """
    coded = coded_events(events)
    second = questions.b if len(family.ids) > 1 else ibis.literal(0, "int64")
    asked = questions.select(a=questions.a, b=second, as_of_us=questions.now_us).distinct()
    found = _before_questions(updates(coded, family), asked)
    cells = sums_of_blocks(found, ["a", "b", "measure", "as_of_us"], found.as_of_us)
    met = {column: _met_before(meetings(coded, family, other), asked) for column, other in counterparts(family)}
    return _with_distinct(cells, met, ["a", "measure", "as_of_us"])


def cell_count(coded: ir.Table, family: Family) -> ir.IntegerScalar:
    """About how many cells the coded events leave, within a few per cent: for planning."""
    rows = updates(coded, family)
    return ibis.struct({"a": rows.a, "b": rows.b, "measure": rows.measure}).approx_nunique()


def meeting_count(coded: ir.Table, family: Family) -> ir.IntegerScalar:
    """About how many first meetings are behind the distinct counts, as `cell_count`."""
    dated = keyed_events(coded.filter(coded.dated), family)
    met = [
        ibis.struct({"a": dated.a, "measure": dated.action, "met": dated[other]}).approx_nunique()
        for _, other in counterparts(family)
    ]
    return dated.aggregate(met=sum(met, ibis.literal(0, "int64"))).met.sum()


def to_cells(table: pa.Table) -> np.ndarray:
    """CELL array (n,) of a table with CELL_COLUMNS, row by row: in the order of the table, which the engines leave open."""
    cells = empty_cells(table.num_rows)
    for name in ("a", "b", "measure", "newest_us", "total"):
        cells[name] = table.column(name).to_numpy()
    for place, name in enumerate(FADED_COLUMNS):
        cells["faded"][:, place] = table.column(name).to_numpy()
    for place, name in enumerate(RING_COLUMNS):
        cells["ring"][:, place // BUCKETS, place % BUCKETS] = table.column(name).to_numpy()
    for place, name in enumerate(DISTINCT_COLUMNS):
        cells["distinct"][:, place] = table.column(name).to_numpy()
    as_of = table.column("as_of_us").to_numpy()[:, None]
    cells["bucket"] = as_of // BUCKET_US
    cells["era"] = as_of // ERA_US
    return cells


def _before_questions(rows: ir.Table, asked: ir.Table) -> ir.Table:
    """For each question the blocks of its key's updates up to the block before last, and the single updates since."""
    rows, newest = with_block(rows.semi_join(asked, ["a", "b"])), asked.as_of_us // BLOCK_US
    blocks, single = blocks_of_updates(rows), as_blocks(rows)
    earlier = asked.mutate(newest_block=newest)
    old = blocks.join(earlier, ["a", "b", blocks.block < earlier.newest_block - 1])
    near = ibis.union(asked.mutate(block=newest), asked.mutate(block=newest - 1))
    recent = single.join(near, ["a", "b", "block", single["at"] < near.as_of_us])
    columns = [*blocks.columns, "as_of_us"]
    return ibis.union(old.select(*columns), recent.select(*columns))


def _met_before(met: ir.Table, asked: ir.Table) -> ir.Table:
    """(a, measure, as_of_us, met): how many counterparts a key had met before each question's moment."""
    before = met.join(asked.drop("b"), ["a", met.met_at < asked.as_of_us])
    return before.group_by(["a", "measure", "as_of_us"]).aggregate(met=lambda table: table.count())


def _with_distinct(cells: ir.Table, met: dict[str, ir.Table], by: list[str]) -> ir.Table:
    """`cells` with each count of first meetings (column `met`, by key columns `by`) as its distinct column, 0 where none."""
    for column in DISTINCT_COLUMNS:
        if column not in met:
            cells = cells.mutate(**{column: ibis.literal(0, "int64")})
            continue
        joined = cells.left_join(met[column].rename(**{column: "met"}), by)
        cells = joined.select(*cells.columns, **{column: joined[column].fill_null(0)})
    return cells.select(*CELL_COLUMNS)
