"""The stream engine's histories equal the batch engine's, in whatever order the events arrive."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.aggregates.stream_events import StreamEvents
from feature_repo.aggregates.stream_histories import StreamHistories, stored_exposures
from feature_repo.exposures import exposure_log
from feature_repo.feature_rows import HISTORY_LENGTH
from feature_repo.history import newest_exposures, stored_histories
from tests.small_events import small_events

EVENTS = small_events(exposures=90, seed=8, users=1).with_columns(
    at=pl.col("occurred_at").dt.epoch("us"), topic=pl.lit(2, pl.Int32)
)


def streamed(events: pl.DataFrame, batch: int) -> StreamHistories:
    histories = StreamHistories(100)
    for start in range(0, events.height, batch):
        part = events[start : start + batch]
        histories.fold(StreamEvents.of(part, part["topic"].to_numpy()))
    return histories


def stored(histories: StreamHistories) -> list[int]:
    return stored_exposures(histories.rows)[0].tolist()


def batched(events: pl.DataFrame) -> list[int]:
    log = exposure_log(events)
    far = np.array([np.iinfo(np.int64).max])
    return stored_histories(log, newest_exposures(log, np.array([0]), far))[0].to_list()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), batch=st.integers(1, 60))
def test_a_history_does_not_depend_on_the_order_of_arrival_within_the_kept_length(seed, batch):
    """Few enough events that nothing falls off: then any order, actions before their exposure included, ends the same."""
    few = EVENTS.filter(pl.col("event_id").str.contains(r"^(h0|e[0-2]?\d)-"))
    assert stored(streamed(few.sample(fraction=1.0, shuffle=True, seed=seed), batch)) == batched(few)


def test_in_time_order_a_long_history_keeps_the_newest_exposures_of_the_batch_engine():
    assert EVENTS.filter(pl.col("action") == "impression").height > HISTORY_LENGTH
    ordered = EVENTS.sort("at", pl.col("action") != "impression")
    assert stored(streamed(ordered, 1)) == stored(streamed(ordered, 17)) == batched(EVENTS)


def test_restored_histories_go_on_where_they_were():
    ordered = EVENTS.sort("at", pl.col("action") != "impression")
    first = streamed(ordered[:80], 80)
    again = StreamHistories(100)
    again.restore(first.rows.copy())
    rest = ordered[80:]
    for histories in (first, again):
        histories.fold(StreamEvents.of(rest, rest["topic"].to_numpy()))
    assert stored(first) == stored(again)
    assert first.unanswered == again.unanswered
    assert first.rows_of(np.array([0, 77])).tolist() == [0, -1]
