"""Log-spaced bins of answer times, so that times can be counted by user and summed over processes."""

from __future__ import annotations

import math

import numpy as np

FASTEST_MS = 0.5
SLOWEST_MS = 60_000.0
RATIO = 1.05  # of neighbouring edges: a quantile read from the bins is off by at most 5 %, and interpolated
BINS = math.ceil(math.log(SLOWEST_MS / FASTEST_MS) / math.log(RATIO))
NO_TIME = -1  # the bin of a time that is no positive number

edges_ms: np.ndarray = FASTEST_MS * RATIO ** np.arange(BINS + 1)  # float64 (BINS + 1,): bin k holds edges k .. k + 1
edges_ms.setflags(write=False)


def bin_of(ms: np.ndarray) -> np.ndarray:
    """Bins (n,) int64 of times (n,) in milliseconds; beyond the ends the first and the last bin, NO_TIME for no time."""
    times = np.asarray(ms, np.float64)
    known = np.isfinite(times) & (times > 0)
    bins = np.searchsorted(edges_ms, np.where(known, times, FASTEST_MS), side="right") - 1
    return np.where(known, np.clip(bins, 0, BINS - 1), NO_TIME).astype(np.int64)
