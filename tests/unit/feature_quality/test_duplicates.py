"""Which features say what another one says."""

from __future__ import annotations

import numpy as np

from monitoring.feature_quality import duplicates
from monitoring.feature_quality.duplicates import duplicate_groups


def columns() -> np.ndarray:
    """500 rows: 0 noise, 1 its double, 2 its negative, 3 other noise, 4 constant, 5 nearly column 3, 6 somewhat like it."""
    random = np.random.default_rng(2)
    one, other, third = random.normal(size=(3, 500))
    return np.stack(
        [one, 2 * one + 1, -one, other, np.full(500, 7.0), other + 1e-3 * third, other + 0.3 * third], axis=1
    ).astype(np.float32)


def test_equal_scaled_and_nearly_equal_columns_are_one_group():
    assert [group.tolist() for group in duplicate_groups(columns())] == [[0, 1, 2], [3, 5]]


def test_groups_do_not_depend_on_the_size_of_a_block(monkeypatch):
    whole = [group.tolist() for group in duplicate_groups(columns())]
    monkeypatch.setattr(duplicates, "COLUMNS_AT_ONCE", 2)
    assert [group.tolist() for group in duplicate_groups(columns())] == whole


def test_nulls_do_not_hide_a_duplicate():
    values = columns()
    values[:50, :3] = np.nan
    assert [0, 1, 2] in [group.tolist() for group in duplicate_groups(values)]


def test_columns_that_do_not_vary_are_in_no_group():
    assert duplicate_groups(np.full((10, 3), 0.1, np.float32)) == []
