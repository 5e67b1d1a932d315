"""The exposure rule: the batch engine, the stream engine and the judging labels follow it, in whatever order events arrive."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.aggregates.stream_events import text_hashes
from feature_repo.aggregates.stream_histories import KEPT
from feature_repo.attribution import Acted, Shown, answered
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.dwell import MOST_TENTHS
from feature_repo.exposures import exposure_log
from feature_repo.feature_rows import HISTORY_LENGTH
from feature_repo.heads import HEADS
from feature_repo.history import STORED_COLUMNS, UNDATED_AT, histories_as_of
from tests.exposure_logs import FAR_US, HOUR, START, log_of, stored_by_batch, stored_by_stream, streamed

USERS = range(5)  # several small logs in one
# Moments that meet: equal ones, neighbours, and the edges of every attribution window.
MOMENTS = st.builds(lambda hours, micros: hours * HOUR + micros, st.sampled_from([0, 6, 12, 18, 24, 30]), st.integers(-1, 1))
ACTIONS = ["video_view", "like", "report", "profile_click", "own_1", "own_3", "own_5", "own_7"]

EVENT = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(USERS),
        "post_id": st.sampled_from([10, 11]),
        "action": st.sampled_from(["impression"] * 6 + ["click", "click", "dwell", *ACTIONS]),
        "request_id": st.sampled_from([None, None, "", "a", "b"]),
        "product": st.sampled_from(["news", "news", "shop", HISTORY_BEFORE]),
        "position": st.sampled_from([None, 0, 1]),
        "value": st.sampled_from([None, 40.0, 1_250.0, 3_050.0, 290_000.0]),
        "at": MOMENTS,
    }
)
LOGS = st.lists(EVENT, max_size=15) | st.lists(EVENT, min_size=20, max_size=60)


class Expected:
    """What the rule says of some events, from its definition: exposures in order, each with the actions that answer it."""

    def __init__(self, events: pl.DataFrame, until_us: int = FAR_US) -> None:
        rows = events.with_columns(event=pl.Series(text_hashes(events["event_id"])[:, 0])).rows(named=True)
        shown = [row for row in rows if row["action"] == "impression"]
        self.shown = sorted(shown, key=_order)
        exposures = [Shown(*_key(row), row["at"], row["product"] != HISTORY_BEFORE) for row in self.shown]
        self.answers: list[list[dict]] = [[] for _ in exposures]
        self.unanswered = 0
        for row in rows:
            dated = row["product"] != HISTORY_BEFORE
            if row["action"] == "impression" or (row["action"] == "dwell" and not dated):
                continue
            place = answered(Acted(*_key(row), row["action"], row["at"], dated), exposures)
            self.unanswered += place < 0
            if place >= 0 and row["at"] < until_us:
                self.answers[place].append(row)

    def actions(self, place: int) -> int:
        return sum(1 << HEADS.index(name) for name in {row["action"] for row in self.answers[place]} - {"dwell"})

    def tenths(self, place: int) -> int:
        values = [row["value"] or 0.0 for row in self.answers[place] if row["action"] == "dwell"]
        return min(MOST_TENTHS, sum(int(np.rint(value / 100)) for value in values))

    def stored(self, user: int) -> list[int]:
        told = []
        for place, row in enumerate(self.shown):
            if row["user_id"] == user:
                columns = {"post_id": row["post_id"], "author_id": 5, "topic": 2, "actions": self.actions(place)}
                at_us = UNDATED_AT if row["product"] == HISTORY_BEFORE else row["at"]
                columns |= {"dwell": self.tenths(place), "at_us": at_us}
                told.append([columns.get(name) for name in STORED_COLUMNS])
        return [number for numbers in told[-HISTORY_LENGTH:] for number in numbers]


def _key(row: dict) -> tuple[int, int, str]:
    return row["user_id"], row["post_id"], row["request_id"] or ""


def _order(row: dict) -> tuple:
    place = -1 if row["position"] is None else row["position"]
    return row["user_id"], row["at"], row["product"] != HISTORY_BEFORE, place, row["event"]


def without_surface(stored: list[int]) -> list[int | None]:
    """`stored` without the surface's code, which the rule does not concern."""
    place, width = STORED_COLUMNS.index("product"), len(STORED_COLUMNS)
    return [None if number % width == place else value for number, value in enumerate(stored)]


@settings(max_examples=60, deadline=None)
@given(rows=LOGS, order=st.randoms(use_true_random=False), cuts=st.lists(st.integers(1, 59), max_size=5))
def test_both_engines_follow_the_rule_in_any_order_of_arrival(rows, order, cuts):
    events, expected = log_of(rows), Expected(log_of(rows))
    arrived = list(range(len(rows)))
    order.shuffle(arrived)
    histories, log = streamed(events, arrived, cuts), exposure_log(events[arrived])
    for user in USERS:
        by_stream, by_batch = stored_by_stream(histories, user), stored_by_batch(log, user)
        assert without_surface(by_stream) == without_surface(by_batch) == expected.stored(user)
        assert by_stream == by_batch
    assert histories.unanswered == histories.rows["unanswered"].sum() == log.unanswered.sum() == expected.unanswered


@settings(max_examples=20, deadline=None)
@given(rows=LOGS, moment=MOMENTS)
def test_a_history_as_of_a_moment_holds_the_answers_that_had_come(rows, moment):
    events = log_of(rows)
    log, now_us = exposure_log(events), round(START.timestamp() * 1e6) + moment
    expected = Expected(events, until_us=now_us)
    for user in USERS:
        history = histories_as_of(log, np.array([user]), np.array([now_us]))
        seen = [place for place, row in enumerate(expected.shown) if row["user_id"] == user and row["at"] < now_us]
        held = history.post_id[0] >= 0
        assert history.actions[0, held].tolist() == [expected.actions(place) for place in seen]
        tenths = np.array([expected.tenths(place) for place in seen])
        np.testing.assert_array_equal(history.dwell_s[0, held], tenths.astype(np.float32) / np.float32(10))


@settings(max_examples=20, deadline=None)
@given(rows=LOGS)
def test_training_labels_follow_the_rule(rows):
    events, expected = log_of(rows), Expected(log_of(rows))
    log = exposure_log(events)
    flags = [[expected.actions(place) >> bit & 1 for bit in range(len(HEADS))] for place in range(len(log))]
    assert log.labels(np.arange(len(log))).tolist() == flags


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 200), max_size=6))
def test_exposures_that_are_no_longer_kept_take_their_answers_with_them(seed, cuts):
    """More exposures than a history keeps, after the actions: those that stay must not get the answers of the others."""
    random = np.random.default_rng(seed)
    shared = {"user_id": 1, "position": None, "value": None, "product": "news"}

    def row(action: str) -> dict:
        request = random.choice(["", *"abcdef"])
        at, post = int(random.integers(30 * HOUR)), int(random.integers(3))
        return {**shared, "action": action, "request_id": request, "post_id": post, "at": at}

    acted = [row(str(random.choice(["click", "dwell", *ACTIONS]))) for _ in range(KEPT)]
    shown = [row("impression") for _ in range(HISTORY_LENGTH + int(random.integers(1, 30)))]
    events = log_of([*acted, *shown])
    histories, log = streamed(events, range(events.height), cuts), exposure_log(events)
    assert stored_by_stream(histories, 1) == stored_by_batch(log, 1)
    assert histories.unanswered == log.unanswered.sum()
