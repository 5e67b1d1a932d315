"""The stream bench's first part: how many events a second the whole catalogue's state takes in; the peer is Bytewax."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import polars as pl

from feature_repo.aggregates.cell_table import CellTable, Updates
from feature_repo.aggregates.families import FAMILIES, FAMILY_OF
from feature_repo.aggregates.measures import COUNTED, MEASURES
from feature_repo.aggregates.stream_engine import StreamEngine
from feature_repo.aggregates.stream_events import StreamEvents
from feature_repo.datasets.world.event_bulk import BulkWorld, bulk_events
from flows.steps.progress import announce
from tests.bench.stopwatch import Lap, Stopwatch, pace

BATCH = 200_000  # events of a micro-batch
PEER_FAMILIES = ("user", "post")
_MOST_CELLS = 1 << 22  # of one of the peer's families


class ValuesDiffer(AssertionError):
    """The engine and its peer do not hold the same values, so that their speeds cannot be compared."""


def bench_state_update(world: BulkWorld, rounds: int = 5, threads: int = 2, batch: int = BATCH) -> dict:
    """Fold simulated events of `world` in micro-batches; the last `rounds` of them are timed, those before fill the state.

    The peer keeps PEER_FAMILIES only, in the same run and on the timed micro-batches and the one before them; the engine's
    own kernel does the same work on the same micro-batches with one thread, and the values of both must agree.

    Keys: events_per_s, events_per_core_s (medians over rounds), updates_per_core_s (an update: one event counted in one
    family), encode_events_per_s, cells, keys_bytes, families, peer (the same keys), same_work (ours doing what the peer does),
    ratio_per_core, ratio_per_update, values_compared. Raises ValuesDiffer, and ValueError for too few events.
    """
    rows = bulk_events(world, 0, 1)
    batches = list(rows.iter_slices(batch))
    if len(batches) < rounds + 1:
        raise ValueError(f"{rows.height} events are {len(batches)} batches of {batch}: {rounds} rounds and a warm-up need more")
    encoded, encode_laps = _encoded(batches)
    with _resting_collector():
        ours, engine = _catalogue(encoded, rounds, threads)
        announce(f"state update: {ours['events_per_s']:,} events/s")
        same, tables = _same_work(encoded[-rounds - 1 :])
        peer, compared = _peer(encoded[-rounds - 1 :], tables)
        announce(f"bytewax: {peer['events_per_s']:,} events/s with {len(PEER_FAMILIES)} of {len(FAMILIES)} families")
    return {
        **ours,
        "encode_events_per_s": pace(rows.height, encode_laps, 1)["events_per_s"],
        "cells": sum(len(table) for table in engine.tables.values()),
        "families": len(FAMILIES),
        "simulated": True,
        "peer": peer,
        "same_work": same,
        "ratio_per_core": round(same["events_per_core_s"] / peer["events_per_core_s"], 1),
        "ratio_per_update": round(ours["updates_per_core_s"] / peer["updates_per_core_s"], 1),
        "values_compared": compared,
    }


@contextmanager
def _resting_collector() -> Iterator[None]:
    """No collection of cycles: neither side makes any, and the peer's millions of lists would be walked again and again."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _encoded(batches: list[pl.DataFrame]) -> tuple[list[StreamEvents], list[Lap]]:
    watch, encoded, laps = Stopwatch(), [], []
    for rows in batches:
        encoded.append(StreamEvents.of(rows, rows["topic"].to_numpy()))
        laps.append(watch.lap())
    return encoded, laps


def _catalogue(batches: list[StreamEvents], rounds: int, threads: int) -> tuple[dict, StreamEngine]:
    """Figures of the last `rounds` batches through all families."""
    engine, laps = StreamEngine(threads), []
    watch = Stopwatch()
    for one in batches:
        engine.fold(one)
        laps.append(watch.lap())
    engine.close()
    timed = batches[-rounds:]
    figures = pace(sum(map(len, timed)), laps[-rounds:], threads)
    counted = np.mean([_counted(one) / len(one) for one in timed])
    return {**figures, "updates_per_core_s": round(figures["events_per_core_s"] * counted)}, engine


def _counted(events: StreamEvents) -> int:
    """Pairs of an event and a family that counts it."""
    skipped = (events.skipped(family) for family in FAMILIES)
    return sum(len(events) - (0 if marks is None else int(marks.sum())) for marks in skipped)


def _same_work(batches: list[StreamEvents]) -> tuple[dict, dict[str, CellTable]]:
    """The peer's families by our kernel, one after the other in this thread; the first batch is the warm-up."""
    tables = {name: CellTable(name, _MOST_CELLS) for name in PEER_FAMILIES}
    watch, laps = Stopwatch(), []
    for events in batches:
        updates: Updates = events.updates()
        for name, table in tables.items():
            table.apply(updates, events.ids[FAMILY_OF[name].ids[0]], None, None)
        laps.append(watch.lap())
    return _of_peer_families(batches, laps), tables


def _peer(batches: list[StreamEvents], tables: dict[str, CellTable]) -> tuple[dict, int]:
    from tests.bench.bytewax_windows import run_windows

    laps, found = run_windows(batches, [FAMILY_OF[name].ids[0] for name in PEER_FAMILIES])
    compared = sum(_compare(tables[name], found[FAMILY_OF[name].ids[0]]) for name in PEER_FAMILIES)
    return {"what": "Bytewax stateful_batch, NumPy weights, one worker", **_of_peer_families(batches, laps)}, compared


def _of_peer_families(batches: list[StreamEvents], laps: list[Lap]) -> dict:
    figures = pace(sum(map(len, batches[1:])), laps[1:], 1)
    updates = round(figures["events_per_core_s"] * len(PEER_FAMILIES))
    return {**figures, "updates_per_core_s": updates, "families": list(PEER_FAMILIES)}


def _compare(table: CellTable, states: dict[str, dict[int, list]]) -> int:
    """Values of the peer that equal those of `table`; all must, up to the rounding of sums."""
    compared = 0
    for cell in table.cells:
        measure = MEASURES[cell["measure"]]
        total, faded, eras, rings, buckets = states[str(cell["a"])][int(cell["measure"])]
        same = np.isclose(total, cell["total"], rtol=1e-9) and np.allclose(faded, cell["faded"], rtol=1e-9, atol=0)
        same = same and eras == cell["era"].tolist()
        if measure in COUNTED:
            same = same and rings == cell["ring"].tolist() and buckets == cell["bucket"].tolist()
        if not same:
            raise ValuesDiffer(f"family {table.name!r}, key {cell['a']}, measure {measure}: {cell} is not the peer's value")
        compared += 1 + len(faded) + sum(map(len, rings))
    if compared == 0 or sum(map(len, states.values())) != len(table):
        raise ValuesDiffer(f"family {table.name!r}: the peer has other cells than the {len(table)} of the engine")
    return compared
