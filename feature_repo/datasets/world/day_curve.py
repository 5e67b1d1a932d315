"""When in a day things happen: quiet nights, a lunch bump, a long evening."""

from __future__ import annotations

import numpy as np

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000

_HOURLY = np.array([3, 2, 1, 1, 1, 2, 4, 6, 7, 7, 7, 8, 10, 9, 7, 7, 8, 9, 11, 13, 14, 13, 10, 6], np.float64)
_SHARE_BEFORE_HOUR = np.concatenate([[0.0], np.cumsum(_HOURLY) / _HOURLY.sum()])


def time_of_day_us(draw: np.ndarray) -> np.ndarray:
    """Microseconds after midnight, int64, for uniform draws in (0, 1): the inverse of the day curve's distribution."""
    hours = np.interp(draw, _SHARE_BEFORE_HOUR, np.arange(25))
    return np.minimum((hours * HOUR_US).astype(np.int64), DAY_US - 1)
