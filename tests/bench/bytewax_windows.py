"""The stream bench's peer: the windows of single-id families in Bytewax, written as its `stateful_batch` wants them.

What can be worked out for a whole micro-batch is (NumPy: weights and buckets of every window); what is left for each event is
additions to plain floats of its key's state, in Python, once for each family.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import bytewax.operators as op
import numpy as np
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.operators import KeyedStream, StatefulBatchLogic
from bytewax.testing import TestingSink, run_main

from feature_repo.aggregates.cells import BUCKET_US, ERA_US, SPANS_US
from feature_repo.aggregates.measures import BUCKETS, COUNTED, ERA_HALF_LIVES, VALUED
from feature_repo.aggregates.stream_events import StreamEvents
from tests.bench.stopwatch import Lap, Stopwatch

_TIMED = {COUNTED.index(action): len(COUNTED) + place for place, action in enumerate(VALUED.values())}
Update = tuple[int, list[float], list[int], list[int], float]  # measure, then by window; seconds watched (NaN: none)
_ERA_STEP = 2.0**-ERA_HALF_LIVES


class KeyState(StatefulBatchLogic):
    """Of one key, measure by measure: [total, six fading sums, their eras, six rings of counts, their newest buckets]."""

    def __init__(self) -> None:
        self.cells: dict[int, list[Any]] = {}

    def on_batch(self, values: list[Update]) -> tuple[list[Any], bool]:
        """Add what a micro-batch has for this key; nothing is given on."""
        cells = self.cells
        for measure, weights, eras, buckets, seconds in values:
            cell = cells.get(measure)
            if cell is None:
                cells[measure] = [1.0, weights.copy(), eras.copy(), [_ring(bucket) for bucket in buckets], buckets.copy()]
            else:
                cell[0] += 1.0
                if eras == cell[2]:
                    faded = cell[1]
                    for window, weight in enumerate(weights):
                        faded[window] += weight
                else:
                    _fade(cell[1], cell[2], weights, eras, 1.0)
                if buckets == cell[4]:
                    for ring, bucket in zip(cell[3], buckets, strict=True):
                        ring[bucket % BUCKETS] += 1
                else:
                    _count(cell[3], cell[4], buckets)
            if measure in _TIMED and seconds == seconds:
                self._watch(_TIMED[measure], weights, eras, seconds)
        return [], StatefulBatchLogic.RETAIN

    def _watch(self, measure: int, weights: list[float], eras: list[int], seconds: float) -> None:
        cell = self.cells.get(measure)
        if cell is None:
            cell = self.cells[measure] = [0.0, [0.0] * len(weights), eras.copy(), [], []]
        cell[0] += seconds
        _fade(cell[1], cell[2], weights, eras, seconds)

    def on_eof(self) -> tuple[list[Any], bool]:
        return [self.cells], StatefulBatchLogic.DISCARD

    def notify_at(self) -> datetime | None:
        return None

    def snapshot(self) -> dict[int, list[Any]]:
        return self.cells


def _fade(faded: list[float], held: list[int], weights: list[float], eras: list[int], amount: float) -> None:
    for window, weight in enumerate(weights):
        ahead = eras[window] - held[window]
        if ahead > 0:
            faded[window] *= _ERA_STEP**ahead
            held[window] = eras[window]
        faded[window] += weight * amount * _ERA_STEP ** max(0, -ahead)


def _ring(bucket: int) -> list[int]:
    ring = [0] * BUCKETS
    ring[bucket % BUCKETS] = 1
    return ring


def _count(rings: list[list[int]], heads: list[int], buckets: list[int]) -> None:
    for window, bucket in enumerate(buckets):
        ahead, ring = bucket - heads[window], rings[window]
        for passed in range(heads[window] + 1, min(bucket, heads[window] + BUCKETS) + 1):
            ring[passed % BUCKETS] = 0
        if ahead > 0:
            heads[window] = bucket
        if ahead > -BUCKETS:
            ring[bucket % BUCKETS] += 1


class _Batches(StatelessSourcePartition):
    """Gives one micro-batch at a time, and notes when each was asked for: when the one before was worked through."""

    def __init__(self, batches: Sequence[StreamEvents], laps: list[Lap]) -> None:
        self._left = iter(batches)
        self._laps, self._watch = laps, Stopwatch()

    def next_batch(self) -> list[StreamEvents]:
        self._laps.append(self._watch.lap())
        return [next(self._left)]


class _Source(DynamicSource):
    def __init__(self, batches: Sequence[StreamEvents], laps: list[Lap]) -> None:
        self._batches, self._laps = batches, laps

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Batches:
        return _Batches(self._batches, self._laps)


def run_windows(batches: Sequence[StreamEvents], ids: Sequence[str]) -> tuple[list[Lap], dict[str, dict[str, dict]]]:
    """Fold dated micro-batches, one family for each id column of `ids`, with one worker.

    Returns the lap of each batch, and per id column the state of every key: id as text -> `KeyState.cells`.
    """
    laps: list[Lap] = []
    found: dict[str, list[tuple[str, dict]]] = {name: [] for name in ids}
    flow = Dataflow("windows")
    events = op.input("events", flow, _Source(batches, laps))
    prepared = op.map("weights", events, lambda batch: (batch, _updates(batch)))
    for name in ids:
        keyed: KeyedStream = op.flat_map(
            f"by-{name}", prepared, lambda pair, name=name: zip(map(str, pair[0].ids[name].tolist()), pair[1], strict=True)
        )
        states = op.stateful_batch(f"cells-of-{name}", keyed, lambda state: KeyState())
        op.output(f"out-{name}", states, TestingSink(found[name]))
    run_main(flow)
    return laps[1:], {name: dict(rows) for name, rows in found.items()}


def _updates(events: StreamEvents) -> list[Update]:
    at = events.at_us[:, None]
    era = at // ERA_US
    weights = np.exp2((at - era * ERA_US) / SPANS_US)
    columns = (events.action, weights, era, at // BUCKET_US, events.seconds)
    return list(zip(*(column.tolist() for column in columns), strict=True))
