"""Counter-based random numbers: a draw is a function of (seed, stream, ids) and of nothing else.

Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), vectorised over counters. NumPy's own
Philox yields one stream per generator; here every row has its own counter, so any worker draws the same value for an id,
in any order, with nothing stored.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike

ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)


class Stream(IntEnum):
    """What a draw is for. Streams never share a number; give a new purpose a new value and leave the old ones alone."""

    PERSON = 1
    INTEREST = 2
    COMMUNITY_TOPIC = 3
    POST = 4
    POST_FORM = 5
    POST_TEXT = 6
    FOLLOW_COUNT = 7
    FOLLOW_TARGET = 8
    RECIPROCITY = 9
    AVOIDANCE = 10
    VISIT = 11
    LOGGED_CHOICE = 12
    RESPONSE = 13
    RESPONSE_SOCIAL = 14
    RESPONSE_REST = 15
    TIMELINE_CHOICE = 16


def philox(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Philox-4x32-10 of `counters`, uint32 (n, 4), under `key`, two 32-bit words; uint32 (n, 4)."""
    x0, x1, x2, x3 = (counters[:, index].astype(np.uint64) for index in range(4))
    k0, k1 = key
    for _ in range(ROUNDS):
        product0 = x0 * _MULTIPLIERS[0]
        product1 = x2 * _MULTIPLIERS[1]
        x0, x1, x2, x3 = (
            (product1 >> _WORD) ^ x1 ^ np.uint64(k0),
            product1 & _LOW,
            (product0 >> _WORD) ^ x3 ^ np.uint64(k1),
            product0 & _LOW,
        )
        k0 = (k0 + _KEY_STEPS[0]) & 0xFFFFFFFF
        k1 = (k1 + _KEY_STEPS[1]) & 0xFFFFFFFF
    return np.stack([x0, x1, x2, x3], axis=1).astype(np.uint32)


def uniforms(seed: int, stream: Stream, a: ArrayLike, b: ArrayLike = 0, c: ArrayLike = 0) -> np.ndarray:
    """Four independent uniforms in (0, 1) per row of the broadcast ids, float64 (n, 4). Ids are from 0 to 2**32 - 1."""
    ids = np.broadcast_arrays(np.atleast_1d(a), b, c)
    counters = np.empty((len(ids[0]), 4), np.uint32)
    for word, values in enumerate(ids):
        if values.size and (values.min() < 0 or values.max() > 0xFFFFFFFF):
            raise ValueError(f"draws take ids from 0 to 2**32 - 1, got {values.min()} to {values.max()}")
        counters[:, word] = values
    counters[:, 3] = stream
    return (philox(counters, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)) + 0.5) / 2.0**32
