"""Times to answer in log-spaced bins: small enough that a quantile is known to 5 %, few enough to count by user."""

from __future__ import annotations

import math

import numpy as np

LEAST_MS, MOST_MS, RATIO = 0.5, 60_000.0, 1.05
BINS = math.ceil(math.log(MOST_MS / LEAST_MS) / math.log(RATIO)) + 2  # the first and the last are open


def edges_ms() -> np.ndarray:
    """Upper ends of all bins but the last, float64 (BINS - 1,)."""
    return LEAST_MS * RATIO ** np.arange(BINS - 1)


def bin_of(ms: np.ndarray | float) -> np.ndarray:
    """Bins, int64, of times in milliseconds; raises ValueError for a time that is not finite."""
    times = np.atleast_1d(np.asarray(ms, np.float64))
    if not np.isfinite(times).all():
        raise ValueError("a time to answer is not finite")
    return np.searchsorted(edges_ms(), times, side="left").astype(np.int64)
