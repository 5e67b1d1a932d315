"""Messages to the broker: an idempotent producer whose deliveries can be waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import orjson
import polars as pl
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as KafkaProducer

from feature_repo.broker_topics import EVENTS_TOPIC
from feature_repo.contracts import check_table
from infra.settings import Settings
from services.intake.events import MOST_BYTES

logger = logging.getLogger(__name__)

POLL_S = 0.1  # how long one poll for delivery reports waits
DELIVERY_TIMEOUT_MS = 10_000  # after that a message counts as failed; the client decides whether to send again
WRITTEN_AFTER_S = 3.0  # by then the broker of one machine has written what it acknowledged: it does so every second
QUEUE_MESSAGES = 100_000  # held in memory while the broker is away; beyond it, sending fails at once
# What a message comes back with when its session is over, before the client says so itself.
_SESSION_OVER = (
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError._FATAL,
)


class BrokerUnavailable(RuntimeError):
    """A message was not taken by the broker in time."""


class MessageTooLarge(ValueError):
    """A message that no broker of ours would take, however often it is sent."""


@dataclass(slots=True)
class _Sending:
    """One message on its way; `settled` hears where it lies, or why it lies nowhere."""

    topic: str
    key: bytes
    content: bytes
    settled: Callable[[Message | None, Exception | None], None]
    again: bool = False  # whether this is its second try, in a new session


class EventProducer:
    """Sends JSON messages, keyed by user. Opens no connection before the first message; safe to share between threads.

    A broker that was killed may have forgotten the session of an idempotent producer, which then fails for ever: a new session
    is begun, and what the old one had not delivered is sent in it once more. So is what the broker of one machine acknowledged
    a moment before, which it may have lost. Readers know messages by their ids.
    """

    def __init__(
        self, settings: Settings, delivery_timeout_ms: int = DELIVERY_TIMEOUT_MS, *, known_by_ids: bool = True
    ) -> None:
        """known_by_ids: whether readers know a message that comes twice; else none that was acknowledged is sent again."""
        self._address = settings.broker
        # With when it was acknowledged, by time.monotonic; only the poller's thread touches it.
        self._unwritten: deque[tuple[float, _Sending]] | None = (
            deque() if known_by_ids and settings.broker_address is None else None
        )
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
        self._kafka: KafkaProducer | None = None  # the session; only the poller's thread polls it
        self._poller: threading.Thread | None = None
        self._under_way, self._settled = 0, threading.Condition()
        self._reported = False  # whether the present trouble with the broker has been logged

    def send(self, topic: str, key: str, value: dict) -> Future[int]:
        """Queue one message; the future gives its offset once the broker has it.

        It raises BrokerUnavailable, or MessageTooLarge for one beyond MOST_BYTES. It cannot be cancelled: who waits for it
        may go away, and the delivery is reported all the same.
        """
        delivered: Future[int] = Future()
        delivered.set_running_or_notify_cancel()

        def settled(message: Message | None, error: Exception | None) -> None:
            if message is not None:
                delivered.set_result(message.offset())
            else:
                delivered.set_exception(error)

        content, name = orjson.dumps(value), key.encode()
        if len(content) + len(name) > MOST_BYTES:
            size = len(content) + len(name)
            delivered.set_exception(MessageTooLarge(f"the message has {size:,} bytes; the limit is {MOST_BYTES:,}"))
            return delivered
        sending = _Sending(topic, name, content, settled)
        self._begin()
        try:
            self._produce(sending)
        except BufferError as error:
            self._settle(sending, None, self._refused(topic, error))
        return delivered

    def publish(self, events: pl.DataFrame) -> dict[int, int]:
        """Send a whole table of the events contract to topic `events`, in its order; waits until the broker has all of it.

        Returns, for each partition written to, the offset after the last event: what a consumer must have reached. Events
        keep their event_id, so publishing a table again changes nothing. Raises BrokerUnavailable.
        """
        rows = pl.from_arrow(check_table("events", events)).with_columns(pl.col("occurred_at").dt.epoch("us"))
        ends: dict[int, int] = {}
        failures: list[Exception] = []

        def settled(message: Message | None, error: Exception | None) -> None:
            if message is None:
                failures.append(error)
            else:
                ends[message.partition()] = max(ends.get(message.partition(), 0), message.offset() + 1)

        for row in rows.iter_rows(named=True):
            sending = _Sending(EVENTS_TOPIC, str(row["user_id"]).encode(), orjson.dumps(row), settled)
            self._begin()
            self._produce_patiently(sending)
        left = self.flush(2 * self._configuration["message.timeout.ms"] / 1000)
        if failures:
            raise failures[0]
        if left:
            raise self._refused(EVENTS_TOPIC, f"{left} of {rows.height} events were not acknowledged")
        return ends

    def flush(self, timeout_s: float = 10.0) -> int:
        """Wait until everything is delivered or failed; returns how many messages are still under way."""
        with self._settled:
            self._settled.wait_for(lambda: self._under_way == 0, timeout_s)
            return self._under_way

    def close(self, timeout_s: float = 5.0) -> None:
        """Flush, and stop the polling thread; what the broker does not take in time is given up."""
        left = self.flush(timeout_s)
        if left:
            logger.warning("broker %s: %d messages were not delivered before closing", self._address, left)
        self._closed.set()
        if self._poller is not None:
            self._poller.join()

    # ---- one message ----------------------------------------------------------------------------------------------
    def _begin(self) -> None:
        with self._settled:
            self._under_way += 1

    def _settle(self, sending: _Sending, message: Message | None, error: Exception | None) -> None:
        sending.settled(message, error)
        with self._settled:
            self._under_way -= 1
            self._settled.notify_all()

    def _produce(self, sending: _Sending) -> None:
        """Queue it in the present session. Raises BufferError where the queue is full."""

        def report(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self._reported = False
                self._note_acknowledged(sending)
                self._settle(sending, message, None)
            elif not sending.again and (kafka is not self._kafka or error.code() in _SESSION_OVER):
                self._begin_session_after(kafka, KafkaException(error))
                sending.again = True
                self._produce_patiently(sending)
            else:
                self._settle(sending, None, self._refused(sending.topic, error))

        kafka = None
        try:
            kafka = self._connected()
            kafka.produce(sending.topic, key=sending.key, value=sending.content, on_delivery=report)
        except KafkaException as error:
            if kafka is None or not _is_fatal(error):
                self._settle(sending, None, self._refused(sending.topic, error))
                return
            self._begin_session_after(kafka, error)
            self._produce(sending)

    def _produce_patiently(self, sending: _Sending) -> None:
        """Queue it; while the queue is full, wait for deliveries, which empty it, or fail it by their timeout."""
        while True:
            try:
                self._produce(sending)
                return
            except BufferError:
                if threading.current_thread() is self._poller:
                    self._kafka.poll(POLL_S)
                else:
                    time.sleep(POLL_S)

    # ---- the session ----------------------------------------------------------------------------------------------
    def _connected(self) -> KafkaProducer:
        with self._lock:
            if self._closed.is_set():
                raise KafkaException("the producer is closed")
            if self._kafka is None:
                self._kafka = KafkaProducer(self._configuration)
                self._poller = threading.Thread(target=self._poll, name="broker-deliveries", daemon=True)
                self._poller.start()
            return self._kafka

    def _poll(self) -> None:
        """Serve delivery reports, also those of a session that has ended, until closed."""
        kafka = self._kafka
        while not self._closed.is_set():
            try:
                kafka.poll(POLL_S)
            except KafkaException as error:  # what the client raises for the end of its session
                self._begin_session_after(kafka, error)
            if kafka is not self._kafka:
                self._send_unwritten()
                kafka.purge()  # each of its messages is reported as undelivered now, and sent again
                kafka = kafka if len(kafka) else self._kafka

    def _note_acknowledged(self, sending: _Sending) -> None:
        if self._unwritten is None:
            return
        now = time.monotonic()
        self._unwritten.append((now, sending))
        while now - self._unwritten[0][0] > WRITTEN_AFTER_S:
            self._unwritten.popleft()

    def _send_unwritten(self) -> None:
        """Send again, in the new session, what was acknowledged a moment before the old one ended."""
        since = time.monotonic() - WRITTEN_AFTER_S - self._configuration["message.timeout.ms"] / 1000
        while self._unwritten:
            at, sent = self._unwritten.popleft()
            if at >= since:
                self._begin()
                self._produce_patiently(_Sending(sent.topic, sent.key, sent.content, _nobody_asks, again=True))

    def _begin_session_after(self, ended: KafkaProducer, error: KafkaException) -> None:
        with self._lock:
            if self._kafka is ended:
                logger.warning("broker %s: %s; a new session is begun", self._address, error)
                self._kafka = KafkaProducer(self._configuration)

    def _refused(self, topic: str, error: object) -> BrokerUnavailable:
        return BrokerUnavailable(f"broker {self._address} took no message for topic {topic!r}: {error}")

    def _on_error(self, error: KafkaError) -> None:
        if not self._reported:
            self._reported = True
            logger.warning("broker %s: %s; trying on, and silent until it answers", self._address, error)


def _nobody_asks(message: Message | None, error: Exception | None) -> None:
    """Who sent it was told when it was acknowledged first."""
    if error is not None:
        logger.error("a message that was acknowledged may be lost: %s", error)


def _is_fatal(error: KafkaException) -> bool:
    """Whether the session is over; a message that is refused for it carries the code alone."""
    reason = error.args[0]
    return isinstance(reason, KafkaError) and (reason.fatal() or reason.code() in _SESSION_OVER)
