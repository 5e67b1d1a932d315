"""Synthetic rows in the bench's shape: days to learn from, and later rows live and frozen."""

from __future__ import annotations

import numpy as np

from tests.bench.quality.rows import QualityRows
from tests.synthetic_rows import synthetic_rows


def small_rows(n: int = 3_000, later: int = 600, seed: int = 0) -> QualityRows:
    rows = synthetic_rows(n + later, seed=seed)
    test = rows.take(np.arange(n, n + later))
    _, group = np.unique(test.user_id, return_inverse=True)
    return QualityRows(rows.take(np.arange(n)), test, test, group)
