"""The layout of a cell: everything remembered of one (key, measure). Both engines end in it, `features.py` reads it.

The compiled kernel (`kernel/cells.c`) has the same layout as a struct, and refuses to be loaded where the two differ.
"""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.measures import BUCKETS, ERA_HALF_LIVES, WINDOWS

DISTINCT_PLACES = 2

CELL = np.dtype(
    [
        ("a", np.int64),  # first id of the key
        ("b", np.int64),  # second id, 0 where the family has one
        ("newest_us", np.int64),  # time of the newest event
        ("total", np.float64),  # sum of all amounts
        ("faded", np.float64, (len(WINDOWS),)),  # sum of amount x 2^((at - era x era length) / half-life)
        ("bucket", np.int32, (len(WINDOWS),)),  # number of the newest bucket: at // (span / BUCKETS)
        ("ring", np.uint32, (len(WINDOWS), BUCKETS)),  # events in bucket n at place n % BUCKETS; unused by valued measures
        ("distinct", np.uint32, (DISTINCT_PLACES,)),  # first meetings, see Family.distinct
        ("era", np.uint16, (len(WINDOWS),)),  # the era that `faded` is relative to: at // (half-life x ERA_HALF_LIVES)
        ("measure", np.uint8),  # place in MEASURES
        ("padding", np.uint8, (3,)),
        # Marks of the kernel, without meaning outside it: the last round of showing and of saving that listed the cell.
        ("shown", np.uint32),
        ("saved", np.uint32),
    ]  # four cache lines
)

SPANS_US = np.array([window.span_us for window in WINDOWS], np.int64)
BUCKET_US = SPANS_US // BUCKETS
ERA_US = SPANS_US * ERA_HALF_LIVES


def empty_cells(n: int) -> np.ndarray:
    """n cells of keys that nothing happened to."""
    return np.zeros(n, CELL)


def faded_at(cells: np.ndarray, now_us: np.ndarray | int) -> np.ndarray:
    """Fading sums at `now_us` (int or broadcastable to cells.shape), float64 (*cells.shape, windows).

    A moment before the cell's newest event counts as that event's.
    """
    now = np.maximum(np.asarray(now_us, np.int64), cells["newest_us"])[..., None]
    halved = (now - cells["era"].astype(np.int64) * ERA_US) / SPANS_US  # half-lives since the landmark
    return cells["faded"] * np.exp2(-halved)


def sliding_at(cells: np.ndarray, now_us: np.ndarray | int) -> np.ndarray:
    """Sliding counts at `now_us`: events of the newest BUCKETS buckets, the moment's own included. int64 (*shape, windows).

    A moment before the cell's newest bucket counts as that bucket.
    """
    head = cells["bucket"].astype(np.int64)
    now = np.maximum(np.asarray(now_us, np.int64)[..., None] // BUCKET_US, head)
    place = np.arange(BUCKETS)
    # The bucket a place holds is the newest one at or before `head` with that remainder.
    held = head[..., None] - (head[..., None] - place) % BUCKETS
    return np.where(held > now[..., None] - BUCKETS, cells["ring"], 0).sum(axis=-1, dtype=np.int64)
