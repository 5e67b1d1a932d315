"""Outcomes over a real broker, by a real process that is killed again and again: each message counts once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from feature_repo.aggregates.stream_output import write_progress
from feature_repo.broker_topics import DEAD_LETTERS_TOPIC, EVENTS_TOPIC, SERVED_TOPIC
from feature_repo.contracts import EVENTS
from feature_repo.served_messages import DoorAnswer, ServedPage, fields_of, packed
from infra.settings import Settings
from monitoring.outcomes import read_records
from monitoring.outcomes.evidence import Outcomes
from monitoring.outcomes.read_records import ReadRecords
from services.intake.producer import EventProducer

pytestmark = pytest.mark.slow

NOON = 1_700_000_000_000_000
USERS = 60
ROUNDS = 3
STEP = 5


@pytest.fixture
def settings(tmp_path, broker):
    return Settings(home=tmp_path / "home", broker_port=broker.port)


def send(producer: EventProducer, part: int, door: EventProducer | None = None) -> None:
    """One page, answer and click of every user, the page after the click: the other way round is what usually happens."""
    at = NOON + part * 3_600_000_000
    clicks = [_click(user, part, at + 1_000_000) for user in range(USERS)]
    producer.publish(pl.DataFrame(clicks, schema=pl.from_arrow(EVENTS.empty_table()).schema))
    for user in range(USERS):
        split = {"assigned": "r2" if user % 2 else "r1", "canary": "r2", "step": STEP}
        told = {"heads": ["click"], "predictions": packed(np.full((2, 1), 0.5)), "authors": [1, 2], "age_hours": 1.0}
        page = {"request_id": f"q{user}-{part}", "user_id": user, "product": "for_you", "posts": [10, 11]}
        moment = {"served_at": at, "logged_at": time.time_ns() // 1_000}
        answer = DoorAnswer(user=str(user), path="/for_you", at=at, status=200, ms=20.0, posts=2, asked=2, **split)
        page = ServedPage(release=split["assigned"], **page, **split, **told, **moment)
        for sender, message in ((producer, page), (door or producer, answer)):
            sender.send(SERVED_TOPIC, str(user), fields_of(message))
    assert producer.flush() == (door or producer).flush() == 0


def _click(user: int, part: int, at_us: int) -> dict:
    return {
        "event_id": f"{user}-{part}", "user_id": user, "post_id": 10, "author_id": 1, "action": "click", "value": None,
        "product": "for_you", "position": None, "release": None, "propensity": None, "request_id": f"q{user}-{part}",
        "occurred_at": pl.select(pl.from_epoch(pl.lit(at_us), time_unit="us").dt.replace_time_zone("UTC")).item(),
    }  # fmt: skip


def start(settings: Settings) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "monitoring.outcomes"], env=settings.process_environment({}))


def engagement(settings: Settings) -> float:
    return float(Outcomes(settings.outcomes_url).evidence("r2", [(STEP, 0.5)]).pages.sums["engagement"].sum())


def requests(settings: Settings) -> float:
    return float(Outcomes(settings.outcomes_url).evidence("r2", [(STEP, 0.5)]).requests.sums["requests"].sum())


def until(holds, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError("what the test waits for did not come")
        time.sleep(0.05)


def test_each_message_counts_once_however_often_the_process_is_killed(settings):
    producer = EventProducer(settings)
    for part in range(ROUNDS):
        worker = start(settings)
        send(producer, part)
        # Killed when the pages are in and the clicks are not yet: those are read again.
        until(lambda seen=part: requests(settings) == USERS * (seen + 1))
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    worker = start(settings)
    until(lambda: engagement(settings) >= ROUNDS * USERS)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    evidence = Outcomes(settings.outcomes_url).evidence("r2", [(STEP, 0.5)])
    assert evidence.pages.sums["engagement"].sum() == ROUNDS * USERS
    assert evidence.pages.sums["pages"].sum() == evidence.requests.sums["requests"].sum() == ROUNDS * USERS
    assert evidence.times.count.sum() == ROUNDS * USERS
    producer.close()


def test_what_all_readers_have_taken_in_is_deleted_from_the_broker_of_one_machine(settings, request, monkeypatch):
    producer, outcomes = EventProducer(settings), Outcomes(settings.outcomes_url)
    worker = start(settings)
    request.addfinalizer(worker.kill)
    send(producer, 0)
    until(lambda: engagement(settings) >= USERS)
    read = ReadRecords(settings, outcomes)

    def begins(kept_s: float) -> list[int]:
        return [read.delete(kept_s)[topic, 0] for topic in (SERVED_TOPIC, EVENTS_TOPIC)]

    assert begins(60.0) == [0, 0]  # it came a moment ago
    assert begins(0.0) == [2 * USERS, 0]  # no stream worker has read events
    write_progress(settings, {"offsets": {"0": USERS - 1}})
    assert begins(0.0) == [2 * USERS, USERS - 1]
    monkeypatch.setattr(read_records, "LETTERS_KEPT", 3)
    letters = [producer.send(DEAD_LETTERS_TOPIC, "rejected", {"number": number}) for number in range(10)]
    assert letters[-1].result(timeout=10) == 9
    assert read.delete()[DEAD_LETTERS_TOPIC, 0] == 7
    send(producer, 1)
    until(lambda: engagement(settings) >= 2 * USERS)
    assert requests(settings) == 2 * USERS
    producer.close()


def test_each_message_counts_once_when_the_broker_is_killed_and_loses_the_end_of_its_log(settings, broker, tmp_path, request):
    producer, door = EventProducer(settings), EventProducer(settings, known_by_ids=False)
    worker = start(settings)
    request.addfinalizer(worker.kill)
    log, kept = tmp_path / "broker", tmp_path / "kept"
    send(producer, 0, door)
    until(lambda: requests(settings) == USERS)
    broker.end()
    shutil.copytree(log, kept)
    broker.start()
    send(producer, 1, door)
    broker.end(signal.SIGKILL)
    shutil.rmtree(log)
    kept.rename(log)  # nothing of the second part had been written
    broker.start()
    send(producer, 2, door)
    until(lambda: engagement(settings) >= 3 * USERS)
    until(lambda: requests(settings) >= 2 * USERS)
    assert engagement(settings) == 3 * USERS
    assert requests(settings) == 2 * USERS  # how requests ended is not sent again: nobody would know it a second time
    assert worker.poll() is None
    producer.close()
    door.close()
