"""Messages to the broker: an idempotent producer whose deliveries can be waited for."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future

import orjson
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as KafkaProducer

logger = logging.getLogger(__name__)

POLL_S = 0.1  # how long one poll for delivery reports waits
DELIVERY_TIMEOUT_MS = 10_000  # after that a message counts as failed; the client decides whether to send again
QUEUE_MESSAGES = 100_000  # held in memory while the broker is away; beyond it, sending fails at once


class BrokerUnavailable(RuntimeError):
    """A message was not taken by the broker in time."""


class Producer:
    """Sends JSON messages. Opens no connection before the first message; safe to use from many threads."""

    def __init__(self, address: str, delivery_timeout_ms: int = DELIVERY_TIMEOUT_MS) -> None:
        self._address = address
        self._configuration = {
            "bootstrap.servers": address,
            "enable.idempotence": True,
            "linger.ms": 2,
            "compression.type": "lz4",
            "message.timeout.ms": delivery_timeout_ms,
            "queue.buffering.max.messages": QUEUE_MESSAGES,
            "error_cb": self._on_error,
            "log_level": 3,
        }
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._kafka: KafkaProducer | None = None
        self._poller: threading.Thread | None = None

    def send(self, topic: str, key: str, value: dict) -> Future[int]:
        """Queue one message; the future gives its offset once the broker has it, or raises BrokerUnavailable."""
        delivered: Future[int] = Future()

        def report(error: KafkaError | None, message: Message) -> None:
            if error is None:
                delivered.set_result(message.offset())
            else:
                delivered.set_exception(
                    BrokerUnavailable(f"broker {self._address} did not take a message for {topic}: {error}")
                )

        try:
            self._connected().produce(topic, key=key.encode(), value=orjson.dumps(value), on_delivery=report)
        except (BufferError, KafkaException) as error:
            delivered.set_exception(BrokerUnavailable(f"broker {self._address} takes no messages for {topic}: {error}"))
        return delivered

    def flush(self, timeout_s: float = 10.0) -> int:
        """Wait until everything is delivered or failed; returns how many messages are still in the queue."""
        return self._kafka.flush(timeout_s) if self._kafka is not None else 0

    def close(self, timeout_s: float = 5.0) -> None:
        """Flush, and stop the polling thread."""
        self.flush(timeout_s)
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

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._kafka.poll(POLL_S)

    def _on_error(self, error: KafkaError) -> None:
        logger.warning("broker %s: %s", self._address, error)
