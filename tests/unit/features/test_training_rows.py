"""Training rows know nothing of their own moment or of what came after."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.feature_rows import BLOCKS, HEADS, FeatureRows
from feature_repo.training_rows import point_in_time_rows
from infra.settings import Settings
from tests.small_events import FIRST_DAY, START, small_events, small_lake

DAYS = [FIRST_DAY + timedelta(days=number) for number in range(4)]


def rows_of(folder, events: pl.DataFrame, days=DAYS) -> FeatureRows:
    return point_in_time_rows(Settings(home=folder), [small_lake(folder / "lake", events)], days)


def assert_same_inputs(one: FeatureRows, other: FeatureRows) -> None:
    """All that a model reads is equal to the last bit."""
    for name in BLOCKS:
        np.testing.assert_array_equal(one.blocks[name], other.blocks[name], err_msg=name)
    for name in one.history.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one.history, name), getattr(other.history, name), err_msg=name)


def planted(at: datetime, events: pl.DataFrame) -> pl.DataFrame:
    """A burst of everything on every user and post that appears, at one moment."""
    sample = events.filter(pl.col("product") != HISTORY_BEFORE).unique(["user_id", "post_id"], maintain_order=True)
    actions = ("impression", *HEADS, "dwell")
    burst = [
        sample.with_columns(
            event_id=pl.format("planted-{}-{}", pl.lit(action), pl.col("event_id")),
            action=pl.lit(action),
            request_id=pl.format("planted-{}", pl.col("event_id")),
            value=pl.lit(9_000.0),
            occurred_at=pl.lit(at).cast(pl.Datetime("us", "UTC")),
        )
        for action in actions
    ]
    return pl.concat([events, *[part.select(events.columns) for part in burst]])


def test_a_planted_future_event_moves_no_earlier_row(tmp_path):
    events = small_events()
    cut = START + timedelta(days=2, hours=5, microseconds=1)  # one microsecond after exposures that meet on the full hour
    before = rows_of(tmp_path / "plain", events)
    after = rows_of(tmp_path / "planted", planted(cut, events))
    cut_us = round(cut.timestamp() * 1e6)
    early, early_planted = before.occurred_at < cut_us, after.occurred_at < cut_us
    assert (before.occurred_at == cut_us - 1).any()
    assert early_planted.sum() == early.sum() > 100
    assert_same_inputs(before.take(early), after.take(early_planted))


def test_a_planted_event_does_move_the_rows_after_it(tmp_path):
    """The counterpart of the leak test: had planting no effect at all, that test would prove nothing."""
    events = small_events()
    cut = START + timedelta(days=2, hours=5)
    plain, moved = rows_of(tmp_path / "plain", events), rows_of(tmp_path / "planted", planted(cut, events))
    cut_us = round(cut.timestamp() * 1e6)
    later = moved.occurred_at > cut_us
    assert later.sum() == (plain.occurred_at > cut_us).sum()
    assert not np.array_equal(plain.take(plain.occurred_at > cut_us).dense(), moved.take(later).dense())


def test_scrambling_later_labels_moves_earlier_features_by_nothing(tmp_path):
    events = small_events(delayed=False)
    cut = START + timedelta(days=2)
    late = (pl.col("occurred_at") >= cut) & pl.col("action").is_in(HEADS)
    scrambled = events.with_columns(
        action=pl.when(late).then(pl.col("action").shuffle(seed=1).over(late)).otherwise("action"),
        value=pl.when(pl.col("occurred_at") >= cut).then(pl.col("value") * 3).otherwise("value"),
    )
    plain, other = rows_of(tmp_path / "plain", events), rows_of(tmp_path / "scrambled", scrambled)
    early = plain.occurred_at < int(cut.timestamp() * 1e6)
    assert not np.array_equal(plain.labels[~early], other.labels[~early])
    assert_same_inputs(plain.take(early), other.take(early))


def test_rows_of_one_microsecond_do_not_see_each_other(tmp_path):
    """Two exposures of one user and post in one microsecond: each sees an untouched user and post."""
    exposure = small_events(exposures=1, users=1, delayed=False).filter(pl.col("product") != HISTORY_BEFORE)
    twin = exposure.with_columns(event_id=pl.format("twin-{}", "event_id"), request_id=pl.lit("twin"))
    rows = rows_of(tmp_path, pl.concat([exposure, twin]))
    assert len(rows) == 2
    for block, column in (("user", "log_impression.all"), ("post", "log_impression.all"), ("user_post", "log_seen")):
        values = rows.blocks[block][:, rows.names[block].index(column)]
        assert values.tolist() == [0.0, 0.0], (block, column)
    assert (rows.history.post_id == -1).all()


def test_an_action_that_comes_late_is_a_label_at_once_and_history_only_later(tmp_path):
    shown = START + timedelta(hours=1)
    base = {"user_id": 1, "post_id": 101, "author_id": 1, "product": "tab_1", "request_id": "r"}
    rows = [
        {**base, "event_id": "a", "action": "impression", "occurred_at": shown},
        {**base, "event_id": "b", "action": "click", "occurred_at": shown + timedelta(minutes=10)},
        {**base, "event_id": "c", "action": "impression", "request_id": "s", "occurred_at": shown + timedelta(minutes=5)},
        {**base, "event_id": "d", "action": "impression", "request_id": "t", "occurred_at": shown + timedelta(minutes=15)},
    ]
    result = rows_of(tmp_path, pl.DataFrame(rows, schema=small_events(1).schema), days=DAYS[:1])
    click = HEADS.index("click")
    assert result.labels[:, click].tolist() == [1, 0, 0]
    assert result.history.actions[:, -2:].tolist() == [[0, 0], [0, 0], [1 << click, 0]]


def test_what_a_page_brought_is_not_known_to_its_own_rows(tmp_path):
    """A ranker chose the last post of a page before the first was seen; a later page of the same session knows both."""
    shown = START + timedelta(hours=1)
    base = {"user_id": 1, "author_id": 1, "product": "tab_1", "request_id": "r", "action": "impression"}
    rows = [
        {**base, "event_id": "a", "post_id": 101, "occurred_at": shown},
        {**base, "event_id": "b", "post_id": 101, "action": "click", "occurred_at": shown + timedelta(seconds=30)},
        {**base, "event_id": "c", "post_id": 102, "occurred_at": shown + timedelta(minutes=1)},
        {**base, "event_id": "d", "post_id": 103, "occurred_at": shown + timedelta(minutes=12)},
        {**base, "event_id": "e", "post_id": 104, "occurred_at": shown + timedelta(minutes=14)},
        {**base, "event_id": "derived-f", "post_id": 105, "occurred_at": shown + timedelta(minutes=15)},
    ]
    result = rows_of(tmp_path, pl.DataFrame(rows, schema=small_events(1).schema), days=DAYS[:1])
    known = [set(history[history >= 0].tolist()) for history in result.history.post_id]
    assert known == [set(), set(), {101, 102}, {101, 102}, {101, 102, 103, 104}]
    shown_before = result.blocks["user"][:, result.names["user"].index("log_impression.all")]
    assert shown_before[0] == shown_before[1] < shown_before[2] == shown_before[3] < shown_before[4]
    assert result.occurred_at.tolist() == [round((shown + timedelta(minutes=m)).timestamp() * 1e6) for m in (0, 1, 12, 14, 15)]


def test_rows_hold_every_dated_impression_of_the_days_once_in_time_order(tmp_path):
    events = small_events()
    rows = rows_of(tmp_path, events, days=DAYS[1:3])
    wanted = events.filter(
        (pl.col("action") == "impression")
        & (pl.col("product") != HISTORY_BEFORE)
        & pl.col("occurred_at").is_between(START + timedelta(days=1), START + timedelta(days=3), closed="left")
    ).sort("occurred_at")
    assert rows.occurred_at.tolist() == wanted["occurred_at"].dt.epoch("us").to_list()
    assert sorted(zip(rows.user_id.tolist(), rows.post_id.tolist(), strict=True)) == sorted(
        wanted.select("user_id", "post_id").iter_rows()
    )


def test_overlapping_lakes_count_an_event_once(tmp_path):
    events = small_events()
    one, two = small_lake(tmp_path / "one", events), small_lake(tmp_path / "two", events)
    settings = Settings(home=tmp_path / "var")
    assert_same_inputs(point_in_time_rows(settings, [one], DAYS), point_in_time_rows(settings, [one, two], DAYS))


def test_undated_exposures_lead_the_history_without_an_age(tmp_path):
    rows = rows_of(tmp_path, small_events())
    undated = (rows.history.post_id >= 0) & np.isnan(rows.history.age_s)
    dated = (rows.history.post_id >= 0) & ~np.isnan(rows.history.age_s)
    assert undated.any()
    last_undated = np.where(undated.any(1), 49 - np.argmax(undated[:, ::-1], axis=1), -1)
    first_dated = np.where(dated.any(1), np.argmax(dated, axis=1), 50)
    assert (last_undated < first_dated).all()


def test_days_without_an_impression_are_refused_with_the_days_that_have_some(tmp_path):
    with pytest.raises(ValueError, match="no dated impression on .*2031-01-01.*the lakes hold"):
        rows_of(tmp_path, small_events(), days=[datetime(2031, 1, 1, tzinfo=UTC).date()])
