"""Which vectors can be judged: by when events reached the lake, and when the vector was read."""

from __future__ import annotations

import os
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from feature_repo.aggregates.families import FAMILY_OF
from feature_repo.lake import Lake
from feature_repo.recomputation.arrivals import ANY_TIME_US, Asked, arrived_events, judge_arrivals, keyed_by
from tests.small_events import small_events, small_lake

SECOND = 1_000_000


def judged(
    events: list[tuple[int, int]], updated_at: int, read_at: int, *, as_of: int = ANY_TIME_US, complete: int | None = None
):
    """(in flight, behind) of one vector of key 7, by events as (at, saved at) in seconds."""
    rows = [{"a": 7, "b": 0, "at": at * SECOND, "saved_at_us": saved * SECOND} for at, saved in events]
    asked = Asked(
        *(np.array([value], np.int64) for value in (7, 0, updated_at * SECOND, read_at * SECOND)),
        np.array([as_of if as_of == ANY_TIME_US else as_of * SECOND], np.int64),
        np.array([(read_at if complete is None else complete) * SECOND], np.int64),
    )
    in_flight, behind = judge_arrivals(asked, pl.DataFrame(rows))
    return bool(in_flight[0]), bool(behind[0])


def test_a_vector_with_all_that_was_saved_is_judged():
    assert judged([(10, 101), (20, 102)], updated_at=20, read_at=110) == (False, False)


def test_what_came_after_the_reading_does_not_matter():
    assert judged([(10, 101), (30, 120)], updated_at=10, read_at=110) == (False, False)


def test_an_event_saved_after_the_reading_that_may_be_in_the_vector_is_in_flight():
    assert judged([(10, 101), (20, 120)], updated_at=20, read_at=110) == (True, False)
    late = [(10, 101), (5, 120)]  # it happened before the vector's newest event, and arrived after it was read
    assert judged(late, updated_at=10, read_at=110) == (True, False)


def test_a_vector_that_lacks_what_was_saved_before_it_was_read_is_behind():
    assert judged([(10, 101), (20, 102)], updated_at=10, read_at=110) == (False, True)


def test_behind_is_not_said_of_events_that_the_vector_need_not_hold():
    events = [(10, 101), (20, 102)]
    assert judged(events, updated_at=10, read_at=110, as_of=15) == (False, False)
    assert judged(events, updated_at=10, read_at=110, complete=0) == (False, False)


def test_a_key_without_events_is_judged():
    asked = Asked(*(np.array([value], np.int64) for value in (1, 0, -1, 5, ANY_TIME_US, 5)))
    events = pl.DataFrame({"a": [2], "b": [0], "at": [1], "saved_at_us": [1]})
    assert [flags.tolist() for flags in judge_arrivals(asked, events)] == [[False], [False]]


@pytest.fixture
def lake(tmp_path) -> Lake:
    return small_lake(tmp_path)


def test_streamed_events_arrive_when_saved_and_ingested_ones_when_features_were_built(lake):
    streamed = small_events(exposures=20, seed=9).with_columns(event_id="streamed-" + pl.col("event_id"))
    lake.write_events(streamed, "stream-0-0-99")
    for file in lake.root.glob("events/*/*.parquet"):
        os.utime(file, (50, 50) if file.stem == "small" else (70, 70))
    built = arrived_events(lake, materialised_us=60 * SECOND)
    saved = built.group_by(pl.col("event_id").str.starts_with("streamed-")).agg(pl.col("saved_at_us").unique())
    assert dict(saved.iter_rows()) == {True: [70 * SECOND], False: [60 * SECOND]}
    assert built["event_id"].n_unique() == built.height == small_events().height + streamed.height
    for not_built in (None, 40 * SECOND):
        ingested = arrived_events(lake, not_built).filter(~pl.col("event_id").str.starts_with("streamed-"))
        assert ingested["saved_at_us"].unique().to_list() == [ANY_TIME_US]


def test_an_event_in_two_parts_arrived_with_the_first(lake):
    lake.write_events(small_events(), "stream-0-0-99")
    for file in lake.root.glob("events/*/*.parquet"):
        os.utime(file, (50, 50) if file.stem == "small" else (70, 70))
    events = arrived_events(lake, materialised_us=60 * SECOND)
    assert events.height == small_events().height
    assert events["saved_at_us"].unique().to_list() == [60 * SECOND]


def test_a_lake_without_events_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="mixer run ingest"):
        arrived_events(Lake(tmp_path, timedelta(0)), None)


def test_keys_are_those_of_the_engines(lake):
    events = arrived_events(lake, None)
    hours = keyed_by(events, FAMILY_OF["user_hour"])
    assert (hours["b"] == pl.from_epoch(hours["at"], "us").dt.hour()).all()
    assert hours.height < events.height  # undated events belong to no pair
    assert keyed_by(events, FAMILY_OF["user"]).height == events.height
    assert (keyed_by(events, FAMILY_OF["topic"])["a"] >= 0).all()
