"""A planted shift moves one column by the size asked for, and refuses columns where that means nothing."""

from __future__ import annotations

import polars as pl
import pytest

from monitoring.drift.planted import plant_shift
from tests.drift_frames import drift_rows


def test_only_the_named_column_moves_and_by_that_many_standard_deviations():
    rows, reference = drift_rows(1), drift_rows(2)
    planted = plant_shift(rows, "user.normal_2", sigmas=3, reference=reference)
    moved = planted.rows["user.normal_2"] - rows["user.normal_2"]
    assert moved.to_numpy() == pytest.approx(3 * reference["user.normal_2"].std())
    assert planted.rows.drop("user.normal_2").equals(rows.drop("user.normal_2"))


def test_missing_values_stay_missing():
    rows = drift_rows(1)
    planted = plant_shift(rows, "topic.sparse_0")
    assert planted.rows["topic.sparse_0"].is_nan().equals(rows["topic.sparse_0"].is_nan())


def test_an_unknown_column_is_refused_with_examples():
    with pytest.raises(ValueError, match=r"no column 'user.nothing'.*user.normal_0"):
        plant_shift(drift_rows(1), "user.nothing")


def test_a_constant_column_is_refused():
    rows = drift_rows(1).with_columns(pl.lit(2.0).alias("user.normal_0"))
    with pytest.raises(ValueError, match="is constant"):
        plant_shift(rows, "user.normal_0")
