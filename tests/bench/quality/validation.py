"""The newest training days, on which a peer's settings are chosen: nothing of the test days takes part in any choice."""

from __future__ import annotations

import numpy as np

from feature_repo.feature_rows import FeatureRows

VALIDATION_DAYS = 2
_DAY_US = 86_400_000_000


def older_and_newest(rows: FeatureRows) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the rows before the newest VALIDATION_DAYS (of 24 hours, counted back from the last row), and of these."""
    newest = rows.occurred_at > rows.occurred_at.max() - VALIDATION_DAYS * _DAY_US
    return np.flatnonzero(~newest), np.flatnonzero(newest)
