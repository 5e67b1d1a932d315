"""Reading the broker's events: all of them, in order, from where the state stood; resting at the end of the log."""

from __future__ import annotations

import json
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from feature_repo.aggregates import event_stream
from feature_repo.aggregates.event_reader import EventReader
from feature_repo.aggregates.event_stream import BrokerWasAway, EventStream
from feature_repo.aggregates.stream_state import Position, StreamState
from infra.settings import Settings
from services.intake.producer import EventProducer
from tests.local_broker import local_broker

pytestmark = pytest.mark.slow

LIMIT_S = 60


@pytest.fixture
def settings(tmp_path):
    with local_broker(tmp_path / "broker") as port:
        yield Settings(home=tmp_path, broker_port=port)


@pytest.fixture
def state(settings):
    state = StreamState(settings.paths.stream)
    yield state
    state.close()


def send(settings: Settings, numbers: range) -> None:
    producer = EventProducer(settings)
    for one in [producer.send("events", str(number), {"number": number}) for number in numbers]:
        one.result(timeout=20)
    producer.close()


def read(reader: EventReader, records: int) -> dict[int, list[int]]:
    """Offsets by partition, until `records` have come."""
    offsets: dict[int, list[int]] = {}
    deadline = time.monotonic() + LIMIT_S
    while sum(map(len, offsets.values())) < records:
        assert time.monotonic() < deadline, f"{offsets} after {LIMIT_S} s instead of {records} records"
        for one in reader.poll(0.05):
            offsets.setdefault(one.partition, []).extend(one.offsets)
    return offsets


def test_every_record_comes_once_and_those_sent_after_a_rest_too(settings, state):
    send(settings, range(50))
    reader = EventReader(EventStream(settings, state))
    assert read(reader, 50) == {0: list(range(50))}
    assert reader.poll(0.3) == []  # read to the end: the partition is paused now
    send(settings, range(50, 53))
    assert read(reader, 3) == {0: [50, 51, 52]}
    reader.close()


def test_reading_goes_on_where_the_state_stood(settings, state):
    send(settings, range(20))
    state.positions[0] = Position(15)
    reader = EventReader(EventStream(settings, state))
    assert read(reader, 5) == {0: [15, 16, 17, 18, 19]}
    reader.close()


def test_records_that_trickle_in_are_fetched_in_batches(settings, state, monkeypatch):
    """The local broker holds no fetch: asked again and again it and the client would be busy with nothing."""
    told: list[str] = []
    monkeypatch.setattr(
        event_stream, "Consumer", lambda made: Consumer({**made, "statistics.interval.ms": 100, "stats_cb": told.append})
    )
    reader = EventReader(EventStream(settings, state))
    producer = EventProducer(settings)
    for number in range(40):
        producer.send("events", str(number), {"number": number}).result(timeout=20)
        read(reader, 1)
    producer.close()
    reader.close()
    fetches = sum(broker["req"].get("Fetch", 0) for broker in json.loads(told[-1])["brokers"].values())
    assert 0 < fetches <= 200 * 40  # without a rest, some 10,000 for each


def test_a_connection_that_ends_while_the_log_is_looked_at_is_a_broker_that_was_away(settings, state, monkeypatch):
    """The worker reads its newest records again then, and goes on; any other error ends it."""
    stream = EventStream(settings, state)

    def ended(timeout_s: float) -> bool:
        raise KafkaException(KafkaError(KafkaError._DESTROY_BROKER))

    monkeypatch.setattr(stream._rest, "anything_new", ended)
    with pytest.raises(BrokerWasAway):
        stream.poll(10, 0.05)
    stream.close()


def test_several_partitions_rest_and_resume(settings, state):
    admin = AdminClient({"bootstrap.servers": settings.broker})
    admin.create_topics([NewTopic("events", num_partitions=3, replication_factor=1)])["events"].result(timeout=20)
    reader = EventReader(EventStream(settings, state))
    send(settings, range(40))
    first = read(reader, 40)
    send(settings, range(40, 80))
    second = read(reader, 40)
    assert len(first) > 1
    for partition in first.keys() | second.keys():
        offsets = first.get(partition, []) + second.get(partition, [])
        assert offsets == list(range(len(offsets)))
    reader.close()


def test_without_a_broker_the_stream_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(event_stream, "BROKER_TIMEOUT_S", 0.5)
    settings = Settings(home=tmp_path, broker_port=9)
    state = StreamState(settings.paths.stream)
    with pytest.raises(KafkaException):
        EventStream(settings, state)
    state.close()


def test_what_reading_raised_reaches_the_one_who_polls(settings, state):
    stream = EventStream(settings, state)
    reader = EventReader(stream)
    stream.poll = None  # the thread's next call fails
    deadline = time.monotonic() + LIMIT_S
    with pytest.raises(TypeError, match="not callable"):
        while time.monotonic() < deadline:
            reader.poll(0.05)
    reader.close()
