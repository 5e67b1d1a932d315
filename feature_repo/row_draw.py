"""Which training rows are built where there is no time to build all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RowDraw:
    """Which rows are wanted of all: `keep` takes user_id and the microsecond, both int64 (n,), and gives bool (n,).

    `name` tells draws apart: equal names keep equal rows. A user whose row is kept at some moment is kept at every later one.
    """

    name: str
    keep: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def users(self, user_id: np.ndarray) -> np.ndarray:
        """bool (n,): of `user_id` (int64 (n,)) those of whom some row may be kept."""
        return self.keep(user_id, np.full(len(user_id), np.iinfo(np.int64).max))
