"""One history shared by many candidates gives the rows that a history of their own gives."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.feature_rows import HISTORY_LENGTH, History
from feature_repo.history_blocks import HistorySignals


def history(seed: int, length: int) -> History:
    random = np.random.default_rng(seed)
    made = History.empty(1)
    if length:
        made.post_id[0, -length:] = random.integers(0, 20, length)
        made.author_id[0, -length:] = random.integers(0, 5, length)
        made.topic[0, -length:] = random.integers(-1, 3, length)
        made.actions[0, -length:] = random.integers(0, 256, length)
        made.age_s[0, -length:] = np.where(random.random(length) < 0.2, np.nan, random.random(length) * 1e6)
    return made


@pytest.mark.parametrize("length", [0, 1, 7, HISTORY_LENGTH])
def test_matches_of_a_shared_history_are_those_of_repeated_ones(length):
    shared = history(length, length)
    candidates = np.random.default_rng(3).integers(-1, 25, 300)
    repeated = shared.rows(np.zeros(len(candidates), np.int64))
    for name in ("post_id", "author_id", "topic"):
        expected = HistorySignals(repeated).matches(getattr(repeated, name), candidates)
        found = HistorySignals(shared).matches(getattr(shared, name), candidates)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7, err_msg=name)
        assert found.dtype == np.float32
