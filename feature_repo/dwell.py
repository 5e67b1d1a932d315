"""How long an exposure was watched or read, as histories keep it: whole tenths of a second, capped.

Whole tenths, so that the sum over several dwell events of one exposure does not depend on the order in which they come.
"""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.ranking_state import DWELL_CAP_S

TENTHS = 10
MOST_TENTHS = round(DWELL_CAP_S * TENTHS)  # one exposure cannot say more than this


def tenths_of(seconds: np.ndarray) -> np.ndarray:
    """The nearest tenths of float `seconds`, uint16 of the same shape, at most MOST_TENTHS; NaN and less than nothing are 0."""
    return np.clip(np.rint(np.nan_to_num(seconds, nan=0.0) * TENTHS), 0, MOST_TENTHS).astype(np.uint16)


def seconds_of(tenths: np.ndarray) -> np.ndarray:
    """Seconds, float32 of the same shape. Training and serving both divide here, so that their values are equal bit by bit."""
    return tenths.astype(np.float32) / np.float32(TENTHS)
