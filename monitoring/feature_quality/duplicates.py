"""Features that say what another one says: equal, or correlated beyond telling apart."""

from __future__ import annotations

import numpy as np

CORRELATED = 0.999
COLUMNS_AT_ONCE = 1_024


def duplicate_groups(values: np.ndarray, correlated: float = CORRELATED) -> list[np.ndarray]:
    """Groups of columns of `values`, float32 (n, k), whose correlation with the group's first is beyond `correlated`,
    either way; int arrays of two columns or more, the largest group first. Constant columns belong to no group."""
    standard = _standardised(values)
    moving = np.flatnonzero((standard != 0).any(axis=0))
    standard = standard[:, moving]
    first = np.full(len(moving), -1)
    # Columns join the earliest column that they resemble, so a group is all around one and does not grow into a chain.
    for start in range(0, len(moving), COLUMNS_AT_ONCE):
        block = standard[:, start : start + COLUMNS_AT_ONCE].T @ standard[:, start:]
        resembles = np.abs(block) > correlated
        for row in range(len(block)):
            column = start + row
            if first[column] < 0:
                later = start + np.flatnonzero(resembles[row])
                first[later[first[later] < 0]] = column
                first[column] = column
    order = np.argsort(first, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(first[order])) + 1)
    return sorted((moving[group] for group in groups if len(group) > 1), key=len, reverse=True)


def _standardised(values: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and length 1, float32; zeros where a column does not vary. Nulls count as the column's mean."""
    wide = values.astype(np.float64)
    finite = np.isfinite(wide)
    count = np.maximum(finite.sum(axis=0), 1)
    mean = np.where(finite, wide, 0.0).sum(axis=0) / count
    centred = np.where(finite, wide - mean, 0.0)
    length = np.sqrt((centred**2).sum(axis=0))
    still = length <= 1e-9 * np.maximum(1.0, np.abs(mean)) * np.sqrt(len(wide))
    return np.where(still, 0.0, centred / np.where(still, 1.0, length)).astype(np.float32)
