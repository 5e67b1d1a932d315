"""What became of each event of a batch, whatever became of the others."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from feature_repo.broker_topics import EVENTS_TOPIC
from infra.settings import Settings
from services.intake.delivery import deliver
from services.intake.events import MOST_BYTES, Examined, Rejected
from services.intake.producer import BrokerUnavailable, EventProducer, MessageTooLarge
from tests.free_ports import free_port


class Broker:
    """Takes every message but those whose event id it was told to refuse."""

    def __init__(self, refusals: dict[str, Exception]) -> None:
        self.refusals = refusals

    def send(self, topic: str, key: str, value: dict) -> Future[int]:
        delivered: Future[int] = Future()
        refusal = self.refusals.get(value.get("event_id"))
        if refusal is None:
            delivered.set_result(1)
        else:
            delivered.set_exception(refusal)
        return delivered


def batch(*names: str) -> Examined:
    return Examined([{"user_id": 1, "event_id": name} for name in names], [2 * place for place in range(len(names))], [])


def test_only_what_the_broker_did_not_take_is_named():
    away = BrokerUnavailable("broker b took no message")
    delivered = asyncio.run(deliver(Broker({"b": away, "d": away}), batch("a", "b", "c", "d")))
    assert [event["event_id"] for event in delivered.events] == ["a", "c"]
    assert delivered.failed == {2: away, 6: away}
    assert delivered.failure(9) == "2 of 9 events were not delivered, those at 2, 6: broker b took no message"


def test_an_oversized_message_is_refused_and_never_asked_for_again():
    delivered = asyncio.run(deliver(Broker({"b": MessageTooLarge("the message has 2 bytes")}), batch("a", "b")))
    assert delivered.failed == {}
    assert delivered.rejected == [Rejected(2, "the message has 2 bytes", {"user_id": 1, "event_id": "b"})]


def test_accepted_events_of_a_page_that_nobody_here_served_are_counted():
    sent = [("a", "q1", "r7"), ("b", "q2", None), ("c", None, None), ("d", "q3", None)]
    events = [{"user_id": 1, "event_id": name, "request_id": asked, "release": by} for name, asked, by in sent]
    refused = {"d": BrokerUnavailable("away")}
    assert asyncio.run(deliver(Broker(refused), Examined(events, [0, 1, 2, 3], []))).unmatched == 1


def test_many_failures_are_not_all_named():
    away = BrokerUnavailable("away")
    names = [f"e{place}" for place in range(50)]
    delivered = asyncio.run(deliver(Broker(dict.fromkeys(names, away)), batch(*names)))
    assert delivered.failure(50).endswith("36, 38, ...: away")


def test_a_waiter_that_goes_away_does_not_end_the_deliveries(tmp_path):
    producer = EventProducer(Settings(home=tmp_path, broker_port=free_port()), delivery_timeout_ms=100)
    first = producer.send(EVENTS_TOPIC, "1", {})
    assert not first.cancel()
    # Its report comes although nobody waits any more, and so does the next one: the thread that brings them is alive.
    assert isinstance(first.exception(timeout=20), BrokerUnavailable)
    assert isinstance(producer.send(EVENTS_TOPIC, "1", {}).exception(timeout=20), BrokerUnavailable)
    producer.close()


def test_the_producer_knows_what_is_too_large_before_it_sends_it(tmp_path):
    producer = EventProducer(Settings(home=tmp_path, broker_port=free_port()))
    refusal = producer.send(EVENTS_TOPIC, "1", {"text": "x" * MOST_BYTES}).exception(timeout=5)
    assert str(refusal) == "the message has 1,000,012 bytes; the limit is 1,000,000"
    producer.close()
