"""/events with a real broker, and without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, TopicPartition
from starlette.testclient import TestClient

from feature_repo.broker_topics import DEAD_LETTERS_TOPIC, EVENTS_TOPIC, SERVED_TOPIC
from feature_repo.contracts import EdgeKind
from infra.processes import broker
from infra.supervisor import Supervisor
from services.intake.producer import BrokerUnavailable, EventProducer
from services.mixer.app import create_app
from services.mixer.runtime import MixerRuntime
from tests.contract_rows import contract_rows
from tests.free_ports import free_port
from tests.patient import patient


@pytest.fixture(scope="module")
def settings_with_broker(small_settings):
    """The small home, with a broker of its own running."""
    settings = small_settings.model_copy(update={"broker_port": free_port()})
    supervisor = Supervisor(settings)
    spec = broker(settings)
    supervisor.start(spec)
    supervisor.wait_ready(spec)
    yield settings
    supervisor.stop(spec.name)


@pytest.fixture(scope="module")
def connected(settings_with_broker):
    """A runtime whose events reach the broker, and a client of its app."""
    runtime = patient(MixerRuntime(settings_with_broker, {"release_id": "r-events", "bundle": "untrained"}))
    with TestClient(create_app(runtime)) as client:
        yield client, runtime
    runtime.close()


@contextmanager
def reading(settings, topic: str):
    """A consumer at the beginning of every partition of `topic`."""
    consumer = Consumer({"bootstrap.servers": settings.broker, "group.id": "test", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    yield consumer
    consumer.close()


def find(settings, topic: str, wanted: Callable[[dict], bool]) -> dict:
    """The first message of `topic` for which `wanted` holds; fails when none comes within ten quiet seconds."""
    with reading(settings, topic) as consumer:
        while True:
            message = consumer.poll(10)
            assert message is not None, f"no such message in {topic}"
            assert message.error() is None
            content = json.loads(message.value())
            if wanted(content):
                return content


@pytest.mark.slow
def test_good_events_reach_the_topic_bad_ones_the_dead_letters(connected, settings_with_broker):
    client, runtime = connected
    post = int(runtime.corpus.snapshot.post_id[0])
    bad = [{"post_id": post, "action": "applaud"}, "garbage", {"user_id": 10**40}]
    batch = [{"post_id": post, "action": "click", "event_id": "e-1", "request_id": "of-another-arm"}, *bad]
    answer = client.post("/events", json={"user_id": 5, "events": batch}).json()

    assert answer["accepted"] == 1
    assert [refused["index"] for refused in answer["rejected"]] == [1, 2, 3]
    assert answer["rejected"][0]["reason"].startswith("action 'applaud' is not known; known actions: impression")
    assert "mixer_events_unmatched_total 1.0" in client.get("/metrics").text
    good = find(settings_with_broker, EVENTS_TOPIC, lambda message: message["event_id"] == "e-1")
    assert (good["user_id"], good["author_id"]) == (5, runtime.author_of(post))
    for one in bad:
        assert find(settings_with_broker, DEAD_LETTERS_TOPIC, lambda letter, one=one: json.loads(letter["sent"]) == one)[
            "reason"
        ]


@pytest.mark.slow
def test_a_mute_holds_from_the_next_request_on(connected, as_of):
    client, _ = connected
    asked = {"user_id": 9, "count": 30, "requested_at": as_of}
    first = client.post("/for_you", json=asked).json()["posts"][0]
    mute = {"user_id": 9, "post_id": first["post_id"], "author_id": first["author_id"], "action": "mute"}
    assert client.post("/events", json={"events": [mute]}).json()["accepted"] == 1

    assert first["author_id"] not in {post["author_id"] for post in client.post("/for_you", json=asked).json()["posts"]}
    explained = client.post("/explain", json={**asked, "post_id": first["post_id"]}).json()["posts"][0]
    assert explained["rule"] == "muted_authors"


@pytest.mark.slow
def test_what_was_served_is_logged_with_release_and_propensity(connected, settings_with_broker, as_of):
    client, runtime = connected
    asked = {"user_id": 3, "count": 4, "requested_at": as_of, "request_id": "served-1"}
    page = client.post("/for_you", json=asked).json()["posts"]
    # The side effect runs on the app's loop after the answer; its message is awaited by reading the topic until it is there.
    logged = find(settings_with_broker, SERVED_TOPIC, lambda message: message["request_id"] == "served-1")

    assert (logged["release"], logged["user_id"]) == ("r-events", 3)
    assert logged["posts"] == [post["post_id"] for post in page]
    assert logged["propensity"] == [1.0] * len(page)
    assert runtime.producer.flush() == 0
    assert 'mixer_served_log_messages_total{outcome="delivered"}' in client.get("/metrics").text


@pytest.mark.slow
def test_a_published_table_can_be_waited_for_by_offset(settings_with_broker):
    events = contract_rows(exposures=30)["events"]
    producer = EventProducer(settings_with_broker)
    ends = producer.publish(events)
    again = producer.publish(events)
    producer.close()

    assert sum(again.values()) - sum(ends.values()) == events.height


def test_without_a_broker_events_are_refused_with_a_remedy(client):
    answer = client.post("/events", json={"events": [{"user_id": 5, "post_id": 1, "author_id": 2, "action": "mute"}]})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "broker_unavailable"
    assert "same event ids" in answer.json()["error"]["remedy"]


def test_no_event_is_taken_where_the_disk_has_no_room_to_keep_it(connected, monkeypatch):
    """The local broker acknowledges what it can't write."""
    client, _ = connected
    monkeypatch.setattr("infra.full_disk.LEAST_FREE", 1 << 60)
    answer = client.post("/events", json={"events": [{"user_id": 1, "post_id": 2, "action": "click"}]})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "disk_full"


def test_a_mute_that_the_broker_did_not_take_does_not_hold(client, runtime):
    client.post("/events", json={"events": [{"user_id": 77, "post_id": 1, "author_id": 2, "action": "mute"}]})
    assert runtime.recent_relations.of_user(EdgeKind.MUTE, 77).tolist() == []


@pytest.mark.slow
def test_a_copy_that_nobody_saw_is_logged_as_one_and_no_impression_can_name_it(connected, settings_with_broker, as_of):
    client, runtime = connected
    asked = {"user_id": 3, "count": 4, "requested_at": as_of, "request_id": "copied-1"}
    page = client.post("/for_you", json=asked, headers={"x-mixer-shadow": "r-test"}).json()
    logged = find(settings_with_broker, SERVED_TOPIC, lambda message: message["request_id"] == "copied-1")
    assert logged["shadow"] is True
    assert logged["propensity"] == [0.0] * 4
    assert runtime.recently_served.of("copied-1", 3, page["posts"][0]["post_id"]) is None


def test_timelines_are_served_without_a_broker(client, as_of):
    assert client.post("/for_you", json={"user_id": 1, "count": 5, "requested_at": as_of}).json()["posts"]


def test_a_closed_producer_takes_nothing(small_settings):
    producer = EventProducer(small_settings, delivery_timeout_ms=200)
    producer.close()
    with pytest.raises(BrokerUnavailable, match="closed"):
        producer.send(EVENTS_TOPIC, "1", {}).result(timeout=5)
