"""Which exposures are of one page, and so were asked for at one moment."""

from __future__ import annotations

import polars as pl
import pytest

from feature_repo.attribution import UNDATED
from feature_repo.exposures import asked_moments

MINUTE = 60_000_000


def rows(minutes: list[float], requests: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"at": [round(minute * MINUTE) for minute in minutes], "request_id": requests}).with_columns(
        pl.lit(1).alias("user_id"),
        pl.lit("home").alias("product"),
        pl.lit(False).alias(UNDATED),
        pl.format("e{}", pl.int_range(pl.len())).alias("event_id"),
    )


@pytest.mark.parametrize(
    ("minutes", "requests", "asked"),
    [
        ([0, 1, 12, 13], ["a"] * 4, [0, 0, 12, 12]),
        ([0, 4, 8, 12], ["a"] * 4, [0, 0, 0, 0]),
        ([0, 1, 2, 3], ["a", "b", "a", "b"], [0, 1, 0, 1]),
        ([0, 1], ["", ""], [0, 1]),
        ([0, 1], ["a", "b"], [0, 1]),
        (list(range(0, 64, 4)), ["a"] * 16, [0] * 8 + [32] * 7 + [60]),
    ],
    ids=["a pause", "a long scroll", "side by side", "no request", "a page each", "a session without a pause"],
)
def test_a_page_ends_with_a_pause_or_its_length(minutes, requests, asked):
    assert (asked_moments(rows(minutes, requests)) / MINUTE).tolist() == asked


def test_an_exposure_that_was_made_up_is_a_page_of_its_own():
    made_up = rows([0, 1, 2], ["a"] * 3).with_columns(event_id=pl.Series(["derived-1", "sampled-2", "e3"]))
    assert (asked_moments(made_up) / MINUTE).tolist() == [0, 1, 0]
