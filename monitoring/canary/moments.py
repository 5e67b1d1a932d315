"""Second moments of users in one step: all that the estimates and their variances need.

The judge computes them from a table of users. The bench accumulates them visit by visit and keeps one set for every look:
the leading axes `...` below are looks. Everything after the moments is one code for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What is known of a user in one step. `carried` is the user's weighted influence on the estimates of the steps before.
ONE, X, Y, BEFORE, CARRIED = range(5)
COLUMNS = 5
CONTROL, CANARY = 0, 1


@dataclass(frozen=True)
class StepMoments:
    """Sums over the users of each arm of the products of their columns, float64 (..., 2 arms, COLUMNS, COLUMNS)."""

    arms: np.ndarray

    @property
    def users(self) -> np.ndarray:
        """Users of each arm, (..., 2)."""
        return self.arms[..., ONE, ONE]

    def total(self, column: int) -> np.ndarray:
        """Sum of a column over each arm's users, (..., 2)."""
        return self.arms[..., ONE, column]

    @staticmethod
    def of(columns: np.ndarray, treated: np.ndarray) -> StepMoments:
        """The moments of users with `columns` (n, COLUMNS) and arms `treated` (n,)."""
        arms = [columns[~treated], columns[treated]]
        return StepMoments(np.stack([arm.T @ arm for arm in arms]))


def user_columns(
    x: np.ndarray, y: np.ndarray, before: np.ndarray | None = None, carried: np.ndarray | None = None
) -> np.ndarray:
    """Columns (n, COLUMNS) of n users: denominators x, numerators y, covariates and carried influences (0 where None)."""
    nothing = np.zeros(len(x))
    return np.stack(
        [np.ones(len(x)), x, y, nothing if before is None else before, nothing if carried is None else carried], axis=1
    )
