"""Splits follow the events: by days, hours or minutes, whatever strays far away, and never a part before the one it follows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.datasets import event_counts
from feature_repo.datasets.chosen_splits import NoDatedEvents, choose_splits
from feature_repo.datasets.event_counts import EventCounts
from feature_repo.datasets.splits import Splits, overlaps
from tests.given_dataset import SCHEMAS, START, event, spread

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def times_of(rows: list[dict], day_offset: timedelta = timedelta(0), batch: int = 97) -> EventCounts:
    times = EventCounts(day_offset)
    for start in range(0, len(rows), batch):
        times.add(pl.DataFrame(rows[start : start + batch], schema=SCHEMAS["events"]))
    return times


def shares(rows: list[dict], splits: Splits) -> list[float]:
    """Share of the rows in train, replay and canary."""
    at = [row["occurred_at"] for row in rows]
    inside = [
        sum(moment < splits.train_end for moment in at),
        *(sum(start <= moment < end for moment in at) for start, end in (splits.replay, splits.canary)),
    ]
    return [rows / len(at) for rows in inside]


def test_ten_even_days_are_split_by_whole_local_days() -> None:
    offset = timedelta(hours=8)
    splits = choose_splits(times_of(spread(2_000, 10 * DAY, START - offset), offset))
    assert splits.train_end == START - offset + 7 * DAY
    assert splits.replay == (splits.train_end, splits.replay[1])
    assert splits.replay[1] - splits.train_end in (DAY, 2 * DAY)
    assert splits.canary == (splits.replay[1], START - offset + 10 * DAY)
    assert splits.notes == ()


@pytest.mark.parametrize("train_share", [0.5, 0.8])
def test_the_owner_chooses_the_training_share(train_share: float) -> None:
    rows = spread(4_000, 20 * DAY)
    found = shares(rows, choose_splits(times_of(rows), train_share))
    assert found[0] == pytest.approx(train_share, abs=0.03)
    assert found[1] == pytest.approx(found[2], abs=0.06)


def test_a_log_of_one_day_is_split_by_hours() -> None:
    rows = spread(2_000, DAY)
    splits = choose_splits(times_of(rows))
    assert splits.train_end.date() == START.date()
    assert splits.train_end.minute == 0
    assert shares(rows, splits) == pytest.approx([0.7, 0.15, 0.15], abs=0.03)


def test_a_log_of_one_hour_is_split_by_minutes() -> None:
    rows = spread(2_000, HOUR)
    assert shares(rows, choose_splits(times_of(rows))) == pytest.approx([0.7, 0.15, 0.15], abs=0.03)


def test_sparse_ratings_over_years_get_wide_parts() -> None:
    rows = spread(900, 6 * 365 * DAY, datetime(1997, 1, 1, tzinfo=UTC))
    splits = choose_splits(times_of(rows))
    assert shares(rows, splits) == pytest.approx([0.7, 0.15, 0.15], abs=0.01)
    assert splits.replay[1] - splits.replay[0] > 200 * DAY


@pytest.mark.parametrize("far", [timedelta(days=9_000), timedelta(days=-9_000)])
def test_a_few_rows_far_away_choose_nothing_and_are_named(far: timedelta) -> None:
    rows = spread(1_000, 10 * DAY)
    strays = [event(10_000 + number, START + far) for number in range(4)]
    with_strays = choose_splits(times_of([*strays, *rows]))
    plain = choose_splits(times_of(rows))
    assert (with_strays.train_end, with_strays.replay, with_strays.canary) == (plain.train_end, plain.replay, plain.canary)
    assert any("4 events lie long" in note for note in with_strays.notes)


def test_a_last_day_with_nearly_everything_is_split_inside_that_day() -> None:
    rows = [*spread(50, 5 * DAY), *spread(5_000, DAY, START + 5 * DAY)]
    assert shares(rows, choose_splits(times_of(rows))) == pytest.approx([0.7, 0.15, 0.15], abs=0.04)


def test_quiet_hours_and_gaps_leave_no_part_empty() -> None:
    days = (0, 1, 2, 40, 41, 42, 43)
    rows = [one for day in days for one in spread(50, HOUR, START + day * DAY)]
    assert min(shares(rows, choose_splits(times_of(rows)))) > 0.1


@pytest.mark.parametrize(
    ("moments", "empty"),
    [([START], ["replay", "canary"]), ([START, START + DAY], ["canary"]), ([START, START + HOUR, START + DAY], [])],
)
def test_a_part_without_a_block_is_empty_and_named(moments: list[datetime], empty: list[str]) -> None:
    rows = [event(number, moment) for number, moment in enumerate(one for one in moments for _ in range(200))]
    splits = choose_splits(times_of(rows))
    assert [
        name for name in ("train", "replay", "canary") if shares(rows, splits)[["train", "replay", "canary"].index(name)] == 0
    ] == empty
    assert [note.split()[1] for note in splits.notes] == empty
    assert sum(shares(rows, splits)) == 1


def test_one_event_trains_and_the_notes_say_how_little_that_is() -> None:
    splits = choose_splits(times_of([event(0, START)]))
    assert splits.train_end > START
    assert splits.notes[0] == "the training part holds only 1 event, too few to conclude much from"


def test_undated_history_has_no_say() -> None:
    undated = [event(5_000 + n, START - 300 * DAY, product=HISTORY_BEFORE, position=n) for n in range(3_000)]
    rows = spread(1_000, 10 * DAY)
    assert choose_splits(times_of([*undated, *rows])) == choose_splits(times_of(rows))
    with pytest.raises(NoDatedEvents, match="nothing to train on"):
        choose_splits(times_of(undated))


def test_many_minutes_are_counted_by_hours_and_split_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = spread(3_000, 10 * DAY)
    by_minutes = choose_splits(times_of(rows))
    monkeypatch.setattr(event_counts, "MINUTES_KEPT", 50)
    by_hours = times_of(rows, batch=30)
    assert choose_splits(by_hours) == by_minutes
    assert by_hours.unit == HOUR


def test_times_of_a_lazy_frame_are_those_of_its_batches() -> None:
    rows = spread(500, 3 * DAY)
    lazy = EventCounts.of(pl.DataFrame(rows, schema=SCHEMAS["events"]).lazy(), timedelta(hours=5, minutes=30))
    batched = times_of(rows, timedelta(hours=5, minutes=30))
    assert [one.tolist() for one in lazy.by(DAY)] == [one.tolist() for one in batched.by(DAY)]


def test_parts_of_whole_days_begin_and_end_at_local_midnight() -> None:
    offset = timedelta(hours=8)
    splits = Splits.of_days(
        date(2022, 5, 1), (date(2022, 5, 2), date(2022, 5, 3)), (date(2022, 5, 4), date(2022, 5, 5)), offset
    )
    assert splits.train_end == datetime(2022, 5, 1, 16, tzinfo=UTC)
    assert splits.last_training_day(offset) == date(2022, 5, 1)
    days = [date(2022, 5, 1) + timedelta(days=n) for n in range(6)]
    assert [day for day in days if overlaps(day, splits.replay, offset)] == days[1:3]
    assert [day for day in days if overlaps(day, splits.canary, offset)] == days[3:5]
    assert Splits.from_json(splits.as_json()) == splits


def test_parts_are_told_as_local_days_or_to_the_minute() -> None:
    offset = timedelta(hours=8)
    days = Splits.of_days(date(2022, 5, 1), (date(2022, 5, 2), date(2022, 5, 3)), (date(2022, 5, 4),), offset)
    told = "learned from up to 2022-05-01, replayed 2022-05-02 to 2022-05-03, for canaries 2022-05-04 to 2022-05-04"
    assert days.in_words(offset) == told
    hours = Splits(START + 9 * HOUR, (START + 9 * HOUR, START + 12 * HOUR), (START + 12 * HOUR, START + 12 * HOUR))
    told = "learned from up to 2025-03-03 17:00, replayed 2025-03-03 17:00 to 2025-03-03 20:00, for canaries nothing"
    assert hours.in_words(offset) == told
