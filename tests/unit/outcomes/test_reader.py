"""When events may be taken in: after the pages that they answer, and no later; and when a judge may trust what there is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import orjson
import pytest
from confluent_kafka import KafkaException

from feature_repo.aggregates.stream_apply import Records
from feature_repo.broker_topics import SERVED_TOPIC
from feature_repo.served_messages import ServedPage, fields_of
from infra.settings import Settings
from monitoring.outcomes import reader as module
from monitoring.outcomes.evidence import Outcomes
from monitoring.outcomes.page import engagement_weights
from monitoring.outcomes.reader import HELD_BACK_S, POLL_RECORDS, WRITTEN_AFTER_S, OutcomeReader
from monitoring.outcomes.store import OutcomeStore

STEP = 4


class Log:
    """A topic's log in memory, with the broker's times: what EventStream gives of it."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, int]] = []
        self.read = 0
        self.away = False
        self.early_polls = 0  # that give nothing although there is something

    def add(self, message: dict, age_s: float = 0.0) -> None:
        self.records.append((orjson.dumps(message), int((time.time() - age_s) * 1_000)))

    def poll(self, most: int, timeout_s: float) -> list[Records]:
        if self.early_polls:
            self.early_polls -= 1
            return []
        some = self.records[self.read : self.read + most]
        offsets = list(range(self.read, self.read + len(some)))
        self.read += len(some)
        return [Records(0, offsets, [text for text, _ in some], [stamp for _, stamp in some])] if some else []

    def behind(self) -> int:
        if self.away:
            raise KafkaException("no broker")
        return len(self.records) - self.read

    def close(self) -> None:
        pass


@pytest.fixture
def logs(monkeypatch) -> dict[str, Log]:
    made = {SERVED_TOPIC: Log(), "events": Log()}
    monkeypatch.setattr(module, "EventStream", lambda settings, positions, topic, *_, **__: made[topic])
    monkeypatch.setattr(module, "TAKE_EVERY_S", 0.0)
    monkeypatch.setattr(module, "TIDY_EVERY_S", 0.0)
    return made


@pytest.fixture
def reading(logs, tmp_path) -> Iterator[tuple[OutcomeReader, Outcomes]]:
    url = f"sqlite:///{tmp_path / 'outcomes.db'}"
    yield OutcomeReader(Settings(home=tmp_path), OutcomeStore(url, engagement_weights({}), 0)), Outcomes(url)


def page(number: int) -> dict:
    split = {"assigned": "r1", "canary": "r2", "step": STEP}
    at = time.time_ns() // 1_000
    return fields_of(ServedPage(f"q{number}", number, "for_you", "r1", at, [10], [1], logged_at=at, **split))


def click(number: int) -> dict:
    return {
        "event_id": f"e{number}",
        "user_id": number,
        "post_id": 10,
        "author_id": 1,
        "action": "click",
        "product": "for_you",
        "request_id": f"q{number}",
        "occurred_at": time.time_ns() // 1_000,
    }


def engagement(outcomes: Outcomes) -> float:
    return float(outcomes.evidence("r2", [(STEP, 0.5)]).pages.sums["engagement"].sum())


def test_events_are_taken_in_while_pages_never_stop_coming(logs, reading):
    reader, outcomes = reading
    logs[SERVED_TOPIC].add(page(0))
    logs["events"].add(click(0))
    deadline, number = time.monotonic() + HELD_BACK_S + WRITTEN_AFTER_S + 20, 1
    while engagement(outcomes) < 1 and time.monotonic() < deadline:
        logs[SERVED_TOPIC].add(page(number))  # so that no poll is ever empty
        number += 1
        reader.step()
    assert engagement(outcomes) == 1.0
    assert outcomes.taken_at() is not None


def test_a_message_that_no_database_can_hold_is_left_out_and_stops_nothing(logs, reading):
    reader, outcomes = reading
    logs[SERVED_TOPIC].add({**page(0), "request_id": "a\0b"}, age_s=600)
    logs[SERVED_TOPIC].add(page(1), age_s=600)
    for _ in range(20):
        reader.step()
    assert outcomes.evidence("r2", [(STEP, 0.5)]).pages.sums["pages"].sum() == 1.0


def test_events_wait_for_their_pages_where_those_wait_at_the_broker(logs, reading):
    reader, outcomes = reading
    for number in range(3 * POLL_RECORDS + 100):
        logs[SERVED_TOPIC].add(page(number), age_s=600)
        if number % 10 == 0:
            logs["events"].add(click(number), age_s=599)
    wanted = len(logs["events"].records)
    for _ in range(20):
        reader.step()
    assert engagement(outcomes) == wanted


def test_a_poll_that_gave_nothing_is_not_taken_for_the_end_of_the_log(logs, reading):
    """After a start the first fetch may take longer than a poll: an event must not be taken in before its page."""
    reader, outcomes = reading
    logs[SERVED_TOPIC].add(page(0), age_s=600)
    logs[SERVED_TOPIC].early_polls = 3
    logs["events"].add(click(0), age_s=599)
    for _ in range(8):
        reader.step()
    assert engagement(outcomes) == 1.0


def test_a_burst_of_events_is_taken_in_a_transaction_after_the_other(logs, reading):
    reader, outcomes = reading
    for number in range(2_500):
        logs[SERVED_TOPIC].add(page(number), age_s=60)
        logs["events"].add(click(number), age_s=59)
    for _ in range(12):
        reader.step()
    assert engagement(outcomes) == 2_500


def test_while_the_broker_is_away_nobody_is_told_that_all_is_seen(logs, reading):
    reader, outcomes = reading
    logs["events"].away = True
    reader.step()
    assert outcomes.taken_at() is None
    logs["events"].away = False
    reader.step()
    assert outcomes.taken_at() is not None
