"""Messages to the broker: an idempotent producer whose deliveries can be waited for."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future

import orjson
import polars as pl
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as KafkaProducer

from feature_repo.contracts import check_table
from infra.settings import Settings
from services.intake.events import MOST_BYTES, TOPIC

logger = logging.getLogger(__name__)

POLL_S = 0.1  # how long one poll for delivery reports waits
DELIVERY_TIMEOUT_MS = 10_000  # after that a message counts as failed; the client decides whether to send again
QUEUE_MESSAGES = 100_000  # held in memory while the broker is away; beyond it, sending fails at once


class BrokerUnavailable(RuntimeError):
    """A message was not taken by the broker in time."""


class MessageTooLarge(ValueError):
    """A message that no broker of ours would take, however often it is sent."""


class EventProducer:
    """Sends JSON messages, keyed by user. Opens no connection before the first message; safe to share between threads."""

    def __init__(self, settings: Settings, delivery_timeout_ms: int = DELIVERY_TIMEOUT_MS) -> None:
        self._address = settings.broker
        self._configuration = {
            "bootstrap.servers": self._address,
            "enable.idempotence": True,
            "linger.ms": 2,
            "compression.type": "lz4",
            "message.timeout.ms": delivery_timeout_ms,
            "message.max.bytes": MOST_BYTES,
            "queue.buffering.max.messages": QUEUE_MESSAGES,
            # An absent broker is tried again ever more slowly, and reported by us once, not at every try.
            "reconnect.backoff.ms": 250,
            "reconnect.backoff.max.ms": 5_000,
            "error_cb": self._on_error,
            "log_level": 2,
        }
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._kafka: KafkaProducer | None = None
        self._poller: threading.Thread | None = None
        self._reported = False  # whether the present trouble with the broker has been logged

    def send(self, topic: str, key: str, value: dict) -> Future[int]:
        """Queue one message; the future gives its offset once the broker has it.

        It raises BrokerUnavailable, or MessageTooLarge for one beyond MOST_BYTES. It cannot be cancelled: who waits for it
        may go away, and the delivery is reported all the same.
        """
        delivered: Future[int] = Future()
        delivered.set_running_or_notify_cancel()

        def report(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self._reported = False
                delivered.set_result(message.offset())
            else:
                delivered.set_exception(self._refused(topic, error))

        content, name = orjson.dumps(value), key.encode()
        if len(content) + len(name) > MOST_BYTES:
            size = len(content) + len(name)
            delivered.set_exception(MessageTooLarge(f"the message has {size:,} bytes; the limit is {MOST_BYTES:,}"))
            return delivered
        try:
            self._connected().produce(topic, key=name, value=content, on_delivery=report)
        except (BufferError, KafkaException) as error:
            delivered.set_exception(self._refused(topic, error))
        return delivered

    def publish(self, events: pl.DataFrame) -> dict[int, int]:
        """Send a whole table of the events contract to topic `events`, in its order; waits until the broker has all of it.

        Returns, for each partition written to, the offset after the last event: what a consumer must have reached. Events
        keep their event_id, so publishing a table again changes nothing. Raises BrokerUnavailable.
        """
        rows = pl.from_arrow(check_table("events", events)).with_columns(pl.col("occurred_at").dt.epoch("us"))
        ends: dict[int, int] = {}
        failures: list[KafkaError] = []

        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error)
            else:
                ends[message.partition()] = max(ends.get(message.partition(), 0), message.offset() + 1)

        kafka = self._connected()
        for row in rows.iter_rows(named=True):
            self._produce_patiently(kafka, str(row["user_id"]).encode(), orjson.dumps(row), report)
        left = kafka.flush(self._configuration["message.timeout.ms"] / 1000)
        if failures or left:
            raise self._refused(TOPIC, failures[0] if failures else f"{left} of {rows.height} events were not acknowledged")
        return ends

    def flush(self, timeout_s: float = 10.0) -> int:
        """Wait until everything is delivered or failed; returns how many messages are still in the queue."""
        return self._kafka.flush(timeout_s) if self._kafka is not None else 0

    def close(self, timeout_s: float = 5.0) -> None:
        """Flush, and stop the polling thread; what the broker does not take in time is given up."""
        left = self.flush(timeout_s)
        if left:
            logger.warning("broker %s: %d messages were not delivered before closing", self._address, left)
        self._closed.set()
        if self._poller is not None:
            self._poller.join()

    def _connected(self) -> KafkaProducer:
        with self._lock:
            if self._closed.is_set():
                raise KafkaException("the producer is closed")
            if self._kafka is None:
                self._kafka = KafkaProducer(self._configuration)
                self._poller = threading.Thread(target=self._poll, name="broker-deliveries", daemon=True)
                self._poller.start()
            return self._kafka

    def _produce_patiently(self, kafka: KafkaProducer, key: bytes, value: bytes, report) -> None:
        """Produce; while the queue is full, wait for deliveries, which empty it, or fail it by their timeout."""
        while True:
            try:
                kafka.produce(TOPIC, key=key, value=value, on_delivery=report)
                return
            except BufferError:
                kafka.poll(POLL_S)

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._kafka.poll(POLL_S)

    def _refused(self, topic: str, error: object) -> BrokerUnavailable:
        return BrokerUnavailable(f"broker {self._address} took no message for topic {topic!r}: {error}")

    def _on_error(self, error: KafkaError) -> None:
        if not self._reported:
            self._reported = True
            logger.warning("broker %s: %s; trying on, and silent until it answers", self._address, error)
