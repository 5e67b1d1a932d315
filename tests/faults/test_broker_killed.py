"""A broker that is killed and comes back: who sends goes on, and no message is lost, not even one that it had acknowledged."""

from __future__ import annotations

import json
import signal
import time

import pytest

from feature_repo.aggregates.event_stream import BrokerWasAway, EventStream
from feature_repo.aggregates.stream_state import StreamState
from infra.settings import Settings
from services.intake.producer import EventProducer

pytestmark = pytest.mark.slow

LIMIT_S = 60


def test_what_is_sent_before_during_and_after_the_brokers_death_arrives(broker, tmp_path):
    settings = Settings(home=tmp_path, broker_port=broker.port)
    producer, state = EventProducer(settings), StreamState(settings.paths.stream)
    # More than one acknowledged message, so that the session's numbers do not begin anew with the broker's.
    first = [producer.send("events", "1", {"number": number}) for number in range(10)]
    assert all(one.result(timeout=LIMIT_S) is not None for one in first)
    broker.end(signal.SIGKILL)
    during = [producer.send("events", str(number), {"number": number}) for number in range(10, 20)]
    broker.start()
    after = [producer.send("events", str(number), {"number": number}) for number in range(20, 30)]
    assert all(one.result(timeout=LIMIT_S) is not None for one in (*during, *after))
    assert producer.flush() == 0
    stream = EventStream(settings, state)
    seen: set[int] = set()
    deadline = time.monotonic() + LIMIT_S
    while seen != set(range(30)):
        assert time.monotonic() < deadline, f"only {sorted(seen)} came"
        seen |= {json.loads(value)["number"] for records in stream.poll(100, 0.1) for value in records.values}
    stream.close()
    producer.close()
    state.close()


def test_a_reader_is_told_that_the_broker_was_away(broker, tmp_path):
    settings = Settings(home=tmp_path, broker_port=broker.port)
    state = StreamState(settings.paths.stream)
    stream = EventStream(settings, state)
    assert stream.poll(100, 0.1) == []
    broker.end(signal.SIGKILL)
    broker.start()
    deadline = time.monotonic() + LIMIT_S
    with pytest.raises(BrokerWasAway):
        while time.monotonic() < deadline:
            stream.poll(100, 0.1)
    stream.close()
    state.close()
