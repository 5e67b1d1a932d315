"""Dwell in histories: whole tenths of a second, seen once it has happened, the same from both engines and from storage."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from feature_repo import exposure_files
from feature_repo.aggregates.ranking_state import DWELL_CAP_S
from feature_repo.aggregates.stream_events import StreamEvents
from feature_repo.aggregates.stream_histories import StreamHistories, stored_exposures
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.dwell import MOST_TENTHS, seconds_of, tenths_of
from feature_repo.exposures import ExposureLog, exposure_log
from feature_repo.feature_rows import HISTORY_LENGTH, History
from feature_repo.history import (
    STORED_COLUMNS,
    StoredHistoryOutdated,
    histories_as_of,
    history_of_stored,
    newest_exposures,
    stored_histories,
)
from feature_repo.training_rows import point_in_time_rows
from infra.settings import Settings
from tests.small_events import FIRST_DAY, START, small_events, small_lake

pytestmark = pytest.mark.slow  # each test builds rows or runs the engines

AT_US = round(START.timestamp() * 1e6)
MINUTE_US = 60_000_000
FAR_US = AT_US + 10**13


def event(
    name: str, action: str, minute: int, value: float | None = None, request: str | None = "r", product: str = "tab_1"
) -> dict:
    return {
        **{"event_id": name, "user_id": 1, "post_id": 101, "author_id": 1, "product": product, "request_id": request},
        **{"action": action, "value": value, "occurred_at": START + timedelta(minutes=minute)},
    }


def events_of(*rows: dict) -> pl.DataFrame:
    events = pl.DataFrame(list(rows), schema=small_events(1).schema)
    return events.with_columns(at=pl.col("occurred_at").dt.epoch("us"), topic=pl.lit(2, pl.Int32))


# One exposure dwelt on at once and twice later, and one whose single dwell comes with it.
EVENTS = events_of(
    event("a", "impression", 0),
    event("a1", "dwell", 0, 2_000.0),
    event("a2", "dwell", 10, 4_040.0),
    event("a3", "dwell", 20, 400_000.0),
    event("b", "impression", 1, request="s"),
    event("b1", "dwell", 1, 1_250.0, request="s"),
)


def test_tenths_are_rounded_capped_and_never_missing():
    assert tenths_of(np.array([0.04, 0.06, 12.34, 1e9, np.nan, -3.0])).tolist() == [0, 1, 123, MOST_TENTHS, 0, 0]
    assert seconds_of(np.array([MOST_TENTHS])).tolist() == [DWELL_CAP_S]


@pytest.mark.parametrize(
    ("minute", "seconds"), [(2, [2.0, 1.2]), (10, [2.0, 1.2]), (11, [6.0, 1.2]), (20, [6.0, 1.2]), (21, [DWELL_CAP_S, 1.2])]
)
def test_a_history_counts_dwell_strictly_before_its_moment_up_to_the_cap(minute, seconds):
    history = histories_as_of(exposure_log(EVENTS), np.array([1]), np.array([AT_US + minute * MINUTE_US]))
    assert history.dwell_s.dtype == np.float32
    np.testing.assert_array_equal(history.dwell_s[0, -2:], np.float32(seconds))
    assert (history.dwell_s[0, :-2] == 0).all()


def test_a_training_row_has_all_its_dwell_as_label_at_once(tmp_path):
    lake = small_lake(tmp_path / "lake", EVENTS.drop("at", "topic"))
    rows = point_in_time_rows(Settings(home=tmp_path), [lake], [FIRST_DAY])
    np.testing.assert_array_equal(rows.dwell_s, np.float32([DWELL_CAP_S, 1.2]))
    np.testing.assert_array_equal(rows.history.dwell_s[:, -1], np.float32([0.0, 2.0]))
    assert rows.take(np.array([1])).dwell_s.tolist() == rows.dwell_s[1:].tolist()
    assert rows.take(np.array([1])).history.dwell_s[0, -1] == 2.0


def test_undated_dwell_counts_for_nothing_and_dwell_before_its_exposure_neither():
    events = events_of(
        event("h", "impression", 0, product=HISTORY_BEFORE),
        event("h1", "dwell", 0, 5_000.0, product=HISTORY_BEFORE),
        event("a", "impression", 3, request="q"),
        event("a1", "dwell", 2, 5_000.0, request="q"),
    )
    history = histories_as_of(exposure_log(events), np.array([1]), np.array([FAR_US]))
    assert history.dwell_s[0, -2:].tolist() == [0.0, 0.0]
    assert streamed(events) == batched(events)


def test_dwell_of_exposures_without_a_request_counts_for_the_newest_that_came_before_it():
    events = events_of(
        event("a", "impression", 0, request=None),
        event("b", "impression", 5, request=None),
        event("a1", "dwell", 3, 2_000.0, request=None),
        event("b1", "dwell", 7, 1_000.0, request=None),
    )
    history = histories_as_of(exposure_log(events), np.array([1, 1]), AT_US + MINUTE_US * np.array([6, 8]))
    np.testing.assert_array_equal(history.dwell_s[:, -2:], np.float32([[2.0, 0.0], [2.0, 1.0]]))
    assert streamed(events) == batched(events)


@pytest.mark.parametrize("seed", range(4))
def test_every_history_holds_what_a_plain_sum_over_the_events_before_its_moment_says(seed):
    events = small_events(200, seed=seed, users=3).with_columns(
        at=pl.col("occurred_at").dt.epoch("us"), topic=pl.lit(2, pl.Int32)
    )
    log, random = exposure_log(events), np.random.default_rng(seed)
    dwelt = events.filter(pl.col("action") == "dwell")
    moments = np.concatenate([random.choice(dwelt["at"].to_numpy(), 40) + shift for shift in (0, 1)])
    users = random.integers(0, 3, len(moments))
    index, history = newest_exposures(log, users, moments), histories_as_of(log, users, moments)
    rows = dwelt.select("user_id", "post_id", "request_id", "at", tenths=(pl.col("value") / 100).round(0, "half_to_even"))
    shown = events.filter((pl.col("action") == "impression") & (pl.col("product") != HISTORY_BEFORE))
    request = {(*key, at): request for *key, at, request in shown.select("user_id", "post_id", "at", "request_id").iter_rows()}
    for question, place in zip(*np.nonzero(index >= 0), strict=True):
        key = tuple(int(column[index[question, place]]) for column in (log.user_id, log.post_id, log.at_us))
        of = rows.filter(pl.col("request_id") == request.get(key, ""), pl.col("at") < moments[question])
        expected = min(int(of["tenths"].clip(0, MOST_TENTHS).sum()), MOST_TENTHS)
        assert history.dwell_s[question, place] == np.float32(expected) / np.float32(10), (key, moments[question])


def streamed(events: pl.DataFrame, batch: int = 1) -> list[int]:
    histories = StreamHistories(10)
    for start in range(0, events.height, batch):
        part = events[start : start + batch]
        histories.fold(StreamEvents.of(part, part["topic"].to_numpy()))
    return stored_exposures(histories.rows)[0].tolist()


def batched(events: pl.DataFrame) -> list[int]:
    log = exposure_log(events)
    return stored_histories(log, newest_exposures(log, np.array([1]), np.array([FAR_US])))[0].to_list()


@pytest.mark.parametrize("seed", range(12))
def test_the_stream_engine_adds_dwell_up_as_the_batch_engine_does_in_any_order_of_arrival(seed):
    """Also where dwell waits for its exposure, and where the order decides when the cap is met."""
    mixed = EVENTS.sample(fraction=1.0, shuffle=True, seed=seed)
    assert streamed(mixed, 1 + seed % 4) == batched(EVENTS)
    place = STORED_COLUMNS.index("dwell")
    assert batched(EVENTS)[place :: len(STORED_COLUMNS)] == [MOST_TENTHS, 12]


def test_a_stored_history_gives_back_what_the_log_held():
    log, now_us = exposure_log(EVENTS), AT_US + 30 * MINUTE_US
    stored, direct = history_of_stored(batched(EVENTS), now_us), histories_as_of(log, np.array([1]), np.array([now_us]))
    for name in History.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(stored, name), getattr(direct, name), err_msg=name)


@pytest.mark.parametrize("exposures", [1, 6, 7, 14, 42, HISTORY_LENGTH])
@pytest.mark.parametrize("at_us", [-1, AT_US])
def test_a_stored_history_of_six_numbers_an_exposure_is_refused(exposures, at_us):
    """Seven of them are as long as six exposures of seven numbers, and must not be read as such."""
    with pytest.raises(StoredHistoryOutdated, match=r"stored history of \d+ numbers .* `mixer run features`"):
        history_of_stored([101, 1, 2, 3, 4, at_us] * exposures, FAR_US)


def test_a_history_made_without_dwell_has_none():
    empty = History.empty(3)
    made = History(empty.post_id, empty.author_id, empty.topic, empty.actions, empty.product, empty.age_s)
    assert made.dwell_s.shape == (3, HISTORY_LENGTH)
    assert made.dwell_s.dtype == empty.dwell_s.dtype == np.float32
    assert not made.dwell_s.any()
    assert made.rows(np.array([0])).dwell_s.shape == (1, HISTORY_LENGTH)


def test_a_log_mapped_from_files_a_few_users_at_a_time_hides_late_dwell_as_one_in_memory_does(tmp_path, monkeypatch):
    monkeypatch.setattr(exposure_files, "EVENTS_AT_ONCE", 60)  # several pieces, each with late dwell of its own
    events = events_of(*small_events(300, seed=6).iter_rows(named=True))
    events.write_parquet(tmp_path / "events.parquet")
    held, read = exposure_log(events), exposure_files.map_exposure_log([tmp_path / "events.parquet"], tmp_path)
    assert (held.late_dwell > 0).sum() > 20
    for field in fields(ExposureLog):
        one, other = getattr(held, field.name), getattr(read, field.name)
        np.testing.assert_array_equal(other, one, err_msg=field.name)
        assert one.dtype == other.dtype, field.name
