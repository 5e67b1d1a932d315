"""Sums of updates relative to a moment, as portable Ibis expressions: of single updates, and of blocks of them."""

from __future__ import annotations

import math
from itertools import product

import ibis
import ibis.expr.types as ir

from feature_repo.aggregates.cell_columns import FADED_COLUMNS, RING_COLUMNS
from feature_repo.aggregates.event_updates import FIRST_UNDATED
from feature_repo.aggregates.measures import BUCKETS, COUNTED, ERA_HALF_LIVES, WINDOWS, Window

# Updates that are further than one block from a moment can be summed block by block before the moment is known: a block
# lies whole in one bucket of every window whose buckets are as long or longer, and shorter windows do not reach it.
BLOCK_US = WINDOWS[3].span_us // BUCKETS
BLOCK_KEY = ["a", "b", "measure", "block"]
FRESH_COLUMNS = tuple(f"fresh_{window.name}" for window in WINDOWS)


def sums_of_updates(updates: ir.Table, by: list[str], as_of: ir.IntegerValue) -> ir.Table:
    """`by`, newest_us, total, FADED_COLUMNS and RING_COLUMNS of `updates` relative to `as_of`, a column or a literal."""
    updates = updates.mutate(fresh=_fresh(updates), **_places(updates, as_of), **_weights(updates["at"], as_of))
    sums = {"newest_us": updates["at"].max(), "total": updates.amount.sum()}
    for name, window in zip(FADED_COLUMNS, WINDOWS, strict=True):
        sums[name] = (updates.fresh * updates[f"weight_{window.name}"]).sum()
    for name, here in _rings(updates):
        # A count of non-nulls has the smallest state that an engine keeps for a group, and needs no filter of its own.
        sums[name] = here.ifelse(1, ibis.null("int8")).count()
    return updates.group_by(by).aggregate(**sums)


def with_block(updates: ir.Table) -> ir.Table:
    """`updates` with the number of the block that each lies in."""
    return updates.mutate(block=updates["at"] // BLOCK_US)


def blocks_of_updates(updates: ir.Table) -> ir.Table:
    """One row per BLOCK_KEY of updates `with_block`: at (the block's beginning), newest_us, amount, events and FRESH_COLUMNS,
    fading sums relative to `at`."""
    begin = updates.block * BLOCK_US
    fresh = {name: _fresh(updates) * _grown(updates["at"] - begin, window) for name, window in _fresh_columns()}
    summed = updates.mutate(**fresh).group_by(BLOCK_KEY)
    blocks = summed.aggregate(
        newest_us=lambda table: table["at"].max(),
        amount=lambda table: table.amount.sum(),
        events=lambda table: table.count(),
        **{name: lambda table, name=name: table[name].sum() for name in FRESH_COLUMNS},
    )
    return blocks.mutate(at=blocks.block * BLOCK_US)


def as_blocks(updates: ir.Table) -> ir.Table:
    """Single updates `with_block` in the columns of `blocks_of_updates`, each a block of its own."""
    fresh = {name: _fresh(updates) for name in FRESH_COLUMNS}
    return updates.mutate(newest_us=updates["at"], events=ibis.literal(1, "int64"), **fresh)


def sums_of_blocks(blocks: ir.Table, by: list[str], as_of: ir.IntegerValue) -> ir.Table:
    """`sums_of_updates` of blocks that lie further than one block from `as_of`, and of single updates `as_blocks`."""
    blocks = blocks.mutate(**_places(blocks, as_of), **_weights(blocks["at"], as_of))
    sums = {"newest_us": blocks.newest_us.max(), "total": blocks.amount.sum()}
    for name, (fresh, window) in zip(FADED_COLUMNS, _fresh_columns(), strict=True):
        sums[name] = (blocks[fresh] * blocks[f"weight_{window.name}"]).sum()
    for name, here in _rings(blocks):
        sums[name] = here.ifelse(blocks.events, 0).sum()
    return blocks.group_by(by).aggregate(**sums)


def _fresh(updates: ir.Table) -> ir.FloatingColumn:
    """What an update adds to fading sums: its amount, and nothing where its moment is only bounded."""
    return (updates.measure < FIRST_UNDATED).ifelse(updates.amount, 0.0)


def _fresh_columns() -> list[tuple[str, Window]]:
    return list(zip(FRESH_COLUMNS, WINDOWS, strict=True))


def _places(rows: ir.Table, as_of: ir.IntegerValue) -> dict[str, ir.IntegerColumn]:
    """place_<window>: the ring place of the bucket that `at` lies in; null where the ring of `as_of` has it no more."""
    places = {}
    for window in WINDOWS:
        length = window.span_us // BUCKETS
        bucket = rows["at"] // length
        live = (rows.measure < len(COUNTED)) & (bucket > as_of // length - BUCKETS)
        places[f"place_{window.name}"] = live.ifelse((bucket % BUCKETS).cast("int8"), ibis.null("int8"))
    return places


def _rings(rows: ir.Table) -> list[tuple[str, ir.BooleanColumn]]:
    """Each ring column, and whether a row with `_places` belongs there."""
    here = [rows[f"place_{window.name}"] == place for window, place in product(WINDOWS, range(BUCKETS))]
    return list(zip(RING_COLUMNS, here, strict=True))


def _weights(at: ir.IntegerColumn, as_of: ir.IntegerValue) -> dict[str, ir.FloatingColumn]:
    """weight_<window>: 2^(half-lives from the landmark of `as_of` to `at`)."""
    weights = {}
    for window in WINDOWS:
        era_us = window.span_us * ERA_HALF_LIVES
        weights[f"weight_{window.name}"] = _grown(at - (as_of // era_us) * era_us, window)
    return weights


def _grown(elapsed_us: ir.IntegerColumn, window: Window) -> ir.FloatingColumn:
    """2^(elapsed / half-life), by the exponential function: twice as fast as a power."""
    return (elapsed_us.cast("float64") * (math.log(2.0) / window.span_us)).exp()
