"""A fault is planted in a column that varies and that matters, whatever the data logs."""

from __future__ import annotations

import polars as pl

from feature_repo.heads import HEADS
from monitoring.drift.planted import planted_column
from monitoring.drift.policy import DriftPolicy

ROWS = 200


def frame(varied: list[str], constant: list[str] = (), **positives: int) -> pl.DataFrame:
    """Rows with features of 50 values or of one, in the clock's column 200, and so many positive labels of each head."""
    features = {name: [row % 50 / 50 for row in range(ROWS)] for name in varied} | {name: [0.5] * ROWS for name in constant}
    labels = {f"label_{head}": [int(row < positives.get(head, 0)) for row in range(ROWS)] for head in HEADS}
    return pl.DataFrame({"post.log_age_s": [float(row) for row in range(ROWS)], **features, **labels})


def test_it_is_the_rate_of_the_commonest_action_that_can_be_judged():
    rates = ["post.like_rate.7d", "post.own_1_rate.7d", "post.reply_rate.7d"]
    assert planted_column(frame(rates, like=40, own_1=90, reply=ROWS)) == "post.own_1_rate.7d"
    assert planted_column(frame(rates, like=40, own_1=3)) == "post.like_rate.7d"


def test_it_is_the_rate_over_the_window_in_which_it_varies_most():
    few = frame(["post.like_rate.7d"], ["post.like_rate.1h"], like=40).with_columns(
        (pl.int_range(pl.len()) % 2).cast(pl.Float64).alias("post.like_rate.1d")
    )
    assert planted_column(few) == "post.like_rate.7d"


def test_actions_that_were_chosen_to_decide_come_first():
    rates = ["post.like_rate.7d", "post.share_rate.7d"]
    assert planted_column(frame(rates, like=90, share=40), DriftPolicy(deciding_heads=("share",))) == "post.share_rate.7d"


def test_data_without_such_rates_have_the_fault_in_another_feature_that_tells_no_time():
    assert planted_column(frame(["author.x"], ["post.like_rate.7d"], like=40)) == "author.x"
    assert planted_column(frame(["author.x"], ["post.like_rate.7d"])) == "author.x"
    assert planted_column(frame(["author.x"]).drop([f"label_{head}" for head in HEADS])) == "author.x"


def test_a_count_that_only_grows_is_never_chosen_since_its_moving_cannot_decide():
    few = frame(["author.x"]).with_columns(pl.int_range(pl.len()).cast(pl.Float64).alias("user.log_impression.all"))
    assert planted_column(few) == "author.x"
