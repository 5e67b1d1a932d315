"""What is read off cells at a moment: fading sums, sliding counts, totals, ages, first meetings. One matrix a kind.

A reading is a pair of arrays (measure, place): which of the gathered measures, and which window or counter of its cell.
Only the pairs asked for are computed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from feature_repo.aggregates.cells import BUCKET_US, ERA_US, SPANS_US
from feature_repo.aggregates.measures import BUCKETS, ERA_HALF_LIVES, MICROSECONDS
from feature_repo.aggregates.statistics import NEVER


def faded(cells: np.ndarray, measure: np.ndarray, window: np.ndarray, now_us: np.ndarray) -> np.ndarray:
    """Fading sums at `now_us`, float64 (n, pairs). A moment before a cell's newest event counts as that event's.

    cells: CELL (n, gathered measures); measure, window: int (pairs,); now_us: int64 (n, 1) or (1, 1).
    """
    newest = cells["newest_us"]
    if (newest > now_us).any():
        now_us = np.maximum(now_us, newest)[:, measure]
    era, since_landmark = np.divmod(now_us, ERA_US[window])
    eras_behind = era - cells["era"][:, measure, window]
    halved = since_landmark / SPANS_US[window] + ERA_HALF_LIVES * eras_behind.astype(np.float64)
    return cells["faded"][:, measure, window] * np.exp2(-halved)


def sliding(cells: np.ndarray, measure: np.ndarray, window: np.ndarray, now_us: np.ndarray) -> np.ndarray:
    """Events of the newest BUCKETS buckets at `now_us`, the moment's own included, uint32 (n, pairs).

    A moment before a cell's newest bucket counts as that bucket. Arguments as for `faded`.
    """
    head = cells["bucket"][:, measure, window]
    gone = np.clip(now_us // BUCKET_US[window] - head, 0, BUCKETS).astype(np.int8)  # buckets from the newest to the moment's
    newest_place = (head - head // BUCKETS * BUCKETS).astype(np.int8)  # as `%`, which numpy does not vectorise
    count = np.zeros(head.shape, np.uint32)
    for place in range(BUCKETS):
        behind = newest_place - np.int8(place)  # how many buckets before the newest one this place holds
        behind += (behind < 0) * np.int8(BUCKETS)
        count += cells["ring"][:, measure, window, place] * (behind + gone < BUCKETS)
    return count


def total(cells: np.ndarray, measure: np.ndarray, _place: np.ndarray, _now_us: np.ndarray) -> np.ndarray:
    """Sums of all amounts, float64 (n, pairs)."""
    return cells["total"][:, measure]


def since_s(cells: np.ndarray, measure: np.ndarray, _place: np.ndarray, now_us: np.ndarray) -> np.ndarray:
    """Seconds from the newest event to `now_us`, at least 0, NEVER where there is none; float64 (n, pairs)."""
    passed = np.maximum(now_us - cells["newest_us"][:, measure], 0) / MICROSECONDS
    return np.where(cells["total"][:, measure] > 0, passed, NEVER)


def distinct(cells: np.ndarray, measure: np.ndarray, place: np.ndarray, _now_us: np.ndarray) -> np.ndarray:
    """First meetings counted at `place` of `Family.distinct`, uint32 (n, pairs)."""
    return cells["distinct"][:, measure, place]


Reader = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
