"""Cells packed from the definition (`closed_formula`), so that features can be tested without an engine."""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.cells import BUCKET_US, ERA_US, SPANS_US, empty_cells
from feature_repo.aggregates.measures import BUCKETS, COUNTED, MEASURE_INDEX
from tests.closed_formula import Key, Remembered


def packed_cells(memories: dict[Key, Remembered]) -> np.ndarray:
    """CELL (m,), one a (key, measure)."""
    cells = empty_cells(len(memories))
    for cell, ((a, b, measure), memory) in zip(cells, memories.items(), strict=True):
        cell["a"], cell["b"], cell["measure"] = a, b, MEASURE_INDEX[measure]
        cell["newest_us"], cell["total"] = memory.newest_us, memory.total
        cell["distinct"] = [len(met) for met in memory.met]
        for window in range(len(SPANS_US)):
            _fill_window(cell, window, memory, measure)
    return cells


def _fill_window(cell: np.void, window: int, memory: Remembered, measure: str) -> None:
    span, length, era_us = int(SPANS_US[window]), int(BUCKET_US[window]), int(ERA_US[window])
    if not memory.amounts:
        return
    era = memory.newest_us // era_us
    head = memory.newest_us // length
    cell["era"][window] = era
    cell["faded"][window] = sum(amount * 2.0 ** ((at - era * era_us) / span) for at, amount in memory.amounts)
    if measure in COUNTED:
        cell["bucket"][window] = head
        for at, _ in memory.amounts:
            if at // length > head - BUCKETS:
                cell["ring"][window, at // length % BUCKETS] += 1
