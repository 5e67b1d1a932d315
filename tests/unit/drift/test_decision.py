"""What the drift decision says in each situation, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from monitoring.drift.decision import decide
from monitoring.drift.planted import plant_shift
from monitoring.drift.policy import DriftPolicy, unsettled_windows
from monitoring.drift.verdict import DriftDecision
from tests.drift_frames import drift_rows

NOON = datetime(2024, 5, 2, 12, tzinfo=UTC)
POLICY = DriftPolicy()
REFERENCE, SAME = drift_rows(1), drift_rows(2)


def overconfident(rows: pl.DataFrame) -> pl.DataFrame:
    """Predictions that keep their order but promise half as much again."""
    return rows.with_columns(prediction_click=(pl.col("prediction_click") * 1.5).clip(0, 1))


def negated(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(prediction_click=1 - pl.col("prediction_click"))


def windows(*frames: pl.DataFrame, policy: DriftPolicy = POLICY, hours: int = 24) -> list[DriftDecision]:
    """Decisions on consecutive windows, each with those before it as history."""
    history: list[DriftDecision] = []
    for step, frame in enumerate(frames):
        history.append(decide(REFERENCE, frame, policy, history, at=NOON + timedelta(hours=hours * step)))
    return history


def test_the_same_distribution_is_ok():
    decision = decide(REFERENCE, SAME, at=NOON)
    assert decision.verdict == "ok"
    assert len(decision.columns) == 25
    assert decision.drifted_share == 0


def test_a_drifted_feature_warns_in_every_window_and_never_decides():
    drifted = SAME.with_columns((pl.col("user.normal_0") * 2.2).alias("user.normal_0"))
    decisions = windows(*[drifted] * 5)
    assert [decision.verdict for decision in decisions] == ["warn"] * 5
    assert [column.name for column in decisions[0].columns if column.drifted] == ["user.normal_0"]
    assert "user.normal_0" in decisions[0].reasons[0]


def test_a_grossly_shifted_feature_asks_for_retraining_at_once():
    planted = plant_shift(SAME, "author.log_normal_3", sigmas=6, reference=REFERENCE)
    decision = decide(REFERENCE, planted.rows, at=NOON, planted=planted.description)
    assert decision.verdict == "retrain"
    assert decision.gross == ("author.log_normal_3",)
    assert decision.reasons[0].startswith("author.log_normal_3 shifted grossly")


@pytest.mark.parametrize("column", ["user.normal_1", "post.pareto_count_1", "context.binary_1"])
def test_a_column_that_goes_null_or_vanishes_asks_for_retraining_at_once(column):
    emptied = SAME.with_columns(pl.lit(None, pl.Float64).alias(column))
    assert decide(REFERENCE, emptied, at=NOON).gross == (column,)
    assert decide(REFERENCE, SAME.drop(column), at=NOON).gross == (column,)


def test_a_column_that_follows_the_clock_is_not_judged_unless_it_goes_missing():
    def clock(rows: pl.DataFrame, hours: float | None) -> pl.DataFrame:
        return rows.with_columns((pl.col("user.normal_0") + hours).alias("post.log_age_s"))

    assert decide(clock(REFERENCE, 0), clock(SAME, 9), at=NOON).verdict == "ok"
    assert decide(clock(REFERENCE, 0), clock(SAME, None), at=NOON).verdict == "retrain"


@pytest.mark.parametrize("key", ["user", "author", "post", "topic"])
def test_a_column_since_the_first_event_is_not_judged_unless_it_goes_missing(key):
    def grown(rows: pl.DataFrame, by: float | None, name: str) -> pl.DataFrame:
        return rows.with_columns((pl.col("user.normal_0") + by).alias(f"{key}.{name}"))

    for name in ("log_impression.all", "like_rate.all", "mean_dwell.all", "lifetime_completed_rate"):
        assert decide(grown(REFERENCE, 0, name), grown(SAME, 9, name), at=NOON).verdict == "ok"
        assert decide(grown(REFERENCE, 0, name), grown(SAME, None, name), at=NOON).verdict == "retrain"
    for name in ("log_impression.24h", "like_rate.7d"):
        assert decide(grown(REFERENCE, 0, name), grown(SAME, 9, name), at=NOON).verdict == "retrain"


def test_sums_of_a_young_log_are_not_judged_before_they_have_settled():
    def grown(rows: pl.DataFrame, by: float) -> pl.DataFrame:
        return rows.with_columns((pl.col("user.normal_0") + by).alias("author.log_impression.7d"))

    old, young = (DriftPolicy().of_log(timedelta(days=age)) for age in (21, 20))
    assert decide(grown(REFERENCE, 0), grown(SAME, 9), old, at=NOON).verdict == "retrain"
    assert decide(grown(REFERENCE, 0), grown(SAME, 9), young, at=NOON).verdict == "ok"
    assert young.may_move("context.history_length") and not old.may_move("context.history_length")
    assert [unsettled_windows(timedelta(days=age)) for age in (0, 3, 20, 21)] == [("24h", "7d"), ("7d",), ("7d",), ()]


def test_miscalibration_decides_when_it_repeats_in_two_of_three_windows():
    decisions = windows(overconfident(SAME), SAME, overconfident(SAME))
    assert [decision.verdict for decision in decisions] == ["warn", "ok", "retrain"]
    assert "calibration:click" in decisions[0].signals


def test_reasons_call_own_actions_by_their_names_and_columns_keep_theirs():
    of_own, name = {"prediction_click": "prediction_own_5", "label_click": "label_own_5"}, "post.own_5_rate.7d"
    reference, window = (
        rows.rename(of_own).with_columns((pl.col("user.normal_0") + by).alias(name)) for rows, by in ((REFERENCE, 0), (SAME, 9))
    )
    window = window.with_columns(prediction_own_5=(pl.col("prediction_own_5") * 1.5).clip(0, 1))
    decision = decide(reference, window, at=NOON).in_words({"purchase": "own_5"})
    assert not any("own_5" in reason for reason in decision.reasons)
    assert decision.reasons[0].startswith("post.purchase_rate.7d shifted grossly")
    assert any(reason.startswith("purchase: ") for reason in decision.reasons)
    assert name in decision.gross


def test_two_bad_windows_too_far_apart_do_not_add_up():
    decisions = windows(overconfident(SAME), SAME, SAME, overconfident(SAME))
    assert [decision.verdict for decision in decisions] == ["warn", "ok", "ok", "warn"]


def test_after_a_retraining_soft_signals_wait_for_the_cool_down():
    decisions = windows(*[overconfident(SAME)] * 16, hours=1)
    verdicts = [decision.verdict for decision in decisions]
    assert verdicts == ["warn", "retrain", *["warn"] * 11, "retrain", "warn", "warn"]
    assert "cooling down until 2024-05-03T01:00" in decisions[2].reasons[0]


def test_a_new_gross_shift_breaks_the_cool_down_but_the_same_one_does_not():
    first = plant_shift(SAME, "user.normal_0").rows
    second = plant_shift(first, "user.normal_4").rows
    assert [decision.verdict for decision in windows(first, first, second, hours=1)] == ["retrain", "warn", "retrain"]


def test_a_collapse_of_quality_on_sound_inputs_rolls_back_at_once():
    decision = decide(REFERENCE, negated(SAME), at=NOON)
    assert decision.verdict == "rollback"
    assert "the release is at fault" in decision.reasons[0]


def test_a_collapse_under_a_broken_input_is_not_blamed_on_the_release():
    broken = plant_shift(negated(SAME), "user.normal_2").rows
    assert decide(REFERENCE, broken, at=NOON).verdict == "retrain"


def test_a_slow_loss_of_quality_decides_when_it_repeats():
    blurred = SAME.with_columns(
        prediction_click=pl.when(pl.int_range(pl.len()) % 4 == 0)
        .then(SAME["prediction_click"].mean())
        .otherwise(pl.col("prediction_click"))
    )
    decisions = windows(*[blurred] * 2, policy=replace(POLICY, auc_drop=0.005))
    assert [decision.verdict for decision in decisions] == ["warn", "retrain"]
    assert "quality:click" in decisions[1].signals


def test_a_planted_window_neither_counts_nor_cools_down_later_ones():
    planted = decide(REFERENCE, overconfident(SAME), at=NOON, planted="planted: overconfident")
    fault = decide(REFERENCE, plant_shift(SAME, "user.normal_0").rows, at=NOON, planted="planted: shift")
    later = decide(REFERENCE, overconfident(SAME), POLICY, [planted, fault], at=NOON + timedelta(hours=1))
    assert later.verdict == "warn"
    assert not any("cooling down" in reason for reason in later.reasons)


def test_too_few_rows_decide_nothing_and_say_so():
    decision = decide(REFERENCE, negated(SAME)[:100], at=NOON)
    assert decision.verdict == "warn"
    assert "too few rows to decide: 4,000 in the reference, 100 in the window" in decision.reasons[0]


def test_a_head_outside_the_policys_list_is_reported_and_decides_nothing():
    def as_reply(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.rename({"prediction_click": "prediction_reply", "label_click": "label_reply"})

    decision = decide(
        as_reply(REFERENCE), as_reply(negated(SAME)), replace(POLICY, gross_psi=99, deciding_heads=("click",)), at=NOON
    )
    assert decision.heads[0].collapsed
    assert decision.verdict == "warn"  # its scores moved, which is a soft signal


def test_unscored_reference_rows_are_left_out_of_score_and_quality():
    in_sample = REFERENCE.with_columns(
        prediction_click=pl.when(pl.int_range(pl.len()) < 2000).then(None).otherwise(pl.col("prediction_click"))
    )
    decision = decide(in_sample, SAME, at=NOON)
    assert decision.verdict == "ok"
    assert decision.heads[0].reference.rows == 2000


def test_importance_weights_the_drifted_share():
    drifted = SAME.with_columns((pl.col("user.normal_0") * 2.2).alias("user.normal_0"))
    plain = decide(REFERENCE, drifted, at=NOON)
    weighted = decide(REFERENCE, drifted, replace(POLICY, importance={"user.normal_0": 23.0}), at=NOON)
    assert plain.drifted_share == pytest.approx(1 / 24)
    assert weighted.drifted_share == pytest.approx(0.5)


def test_the_decision_is_a_function_of_its_inputs():
    assert decide(REFERENCE, SAME, POLICY, at=NOON).to_dict() == decide(REFERENCE, SAME, POLICY, at=NOON).to_dict()


def test_a_frame_without_features_or_predictions_is_refused():
    with pytest.raises(ValueError, match="no column named <block>.<name>"):
        decide(pl.DataFrame({"x": [1.0]}), SAME)


@pytest.mark.parametrize("wrong", [{"breaches": 4}, {"breaches": 0}, {"alpha": 0.0}])
def test_an_impossible_policy_is_refused(wrong):
    with pytest.raises(ValueError, match="must lie in"):
        DriftPolicy(**wrong)
