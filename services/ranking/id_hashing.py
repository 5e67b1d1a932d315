"""Ids to embedding rows: Fibonacci hashing, which spreads runs of consecutive ids without collisions."""

from __future__ import annotations

import numpy as np

PADDING_ROW = 0  # row of every embedding table that stands for "no id"; real ids never land on it

# 2^64 / golden ratio, odd: Knuth, The Art of Computer Programming, vol. 3, section 6.4.
_MULTIPLIER = np.uint64(11400714819323198485)


def hash_ids(ids: np.ndarray, bits: int) -> np.ndarray:
    """Embedding rows in [1, 2**bits) for ids >= 0 and PADDING_ROW for negative ones; int32, the shape of `ids`."""
    if not 1 <= bits <= 30:
        raise ValueError(f"bits is {bits}; an embedding table needs between 2**1 and 2**30 rows")
    ids = np.asarray(ids)
    mixed = ids.astype(np.uint64) * _MULTIPLIER
    # The top half of the product as a fraction of 2^32, stretched over the rows that are not padding.
    rows = 1 + ((mixed >> np.uint64(32)) * np.uint64((1 << bits) - 1) >> np.uint64(32)).astype(np.int32)
    return np.where(ids < 0, np.int32(PADDING_ROW), rows)
