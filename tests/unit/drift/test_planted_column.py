"""A fault is planted in a column that varies, whatever the data logs."""

from __future__ import annotations

import polars as pl

from flows.drift import PLANTED_COLUMN, planted_column

VARIED = {"post.log_age_s": [1.0, 2.0, 3.0], "post.play_rate.7d": [0.1, 0.2, 0.1], "prediction_click": [0.1, 0.2, 0.3]}


def test_the_usual_column_is_taken_where_it_varies():
    assert planted_column(pl.DataFrame({**VARIED, PLANTED_COLUMN: [0.0, 0.1, 0.0]})) == PLANTED_COLUMN


def test_data_without_that_signal_have_the_fault_in_another_feature_that_tells_no_time():
    assert planted_column(pl.DataFrame({**VARIED, PLANTED_COLUMN: [0.0, 0.0, 0.0]})) == "post.play_rate.7d"
    assert planted_column(pl.DataFrame(VARIED)) == "post.play_rate.7d"
