"""Null share, range and drift of columns, on columns whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.drift.two_sample import compare
from monitoring.feature_quality.columns import DRIFTED, column_quality


@pytest.fixture(scope="module")
def sides() -> tuple[np.ndarray, np.ndarray]:
    """600 and 400 rows of: steady, shifted, half null, constant, constant until now, never there."""
    random = np.random.default_rng(5)
    reference, window = (random.normal(size=(rows, 6)).astype(np.float32) for rows in (600, 400))
    window[:, 1] += 1.0
    for side in (reference, window):
        side[::2, 2] = np.nan
        side[:, 3] = 4.0
        side[:, 5] = np.nan
    reference[:, 4], window[:, 4] = 0.0, np.repeat([0.0, 1.0], 200)
    return reference, window


def test_null_shares_and_ranges(sides):
    found = column_quality(*sides)
    np.testing.assert_allclose(found.null_share, [0, 0, 0.5, 0, 0, 1])
    both = np.concatenate(sides)
    np.testing.assert_allclose(found.least[:5], np.nanmin(both[:, :5], axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.most[:5], np.nanmax(both[:, :5], axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.median[:4], np.nanmedian(both[:, :4], axis=0), atol=0.02)
    assert found.constant.tolist() == [False, False, False, True, False, True]


def test_drift_is_seen_where_there_is_some(sides):
    psi = column_quality(*sides).psi
    assert psi[0] < 0.1
    assert psi[1] > DRIFTED
    assert psi[2] < 0.2
    assert psi[3] == psi[5] == 0.0
    assert psi[4] > DRIFTED  # a column that began to move


def test_drift_is_the_index_that_the_drift_check_uses(sides):
    reference, window = sides
    psi = column_quality(reference, window).psi
    for column in (0, 1):
        assert psi[column] == pytest.approx(compare(reference[:, column], window[:, column]).psi, abs=1e-2)
