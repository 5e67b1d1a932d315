"""Which training rows are built where there is no time to build all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RowDraw:
    """Which rows are wanted of all: `keep` takes user_id and the microsecond, both int64 (n,), and gives bool (n,).

    `name` tells draws apart: equal names keep equal rows. `users` takes user_id alone, and says of whom any row may be kept.
    """

    name: str
    keep: Callable[[np.ndarray, np.ndarray], np.ndarray]
    users: Callable[[np.ndarray], np.ndarray]


class EmptyDraw(ValueError):
    """A draw keeps no row of those that are asked for."""
