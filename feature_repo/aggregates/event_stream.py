"""A topic read by manual assignment, from offsets that the caller keeps."""

from __future__ import annotations

import time
from typing import Protocol

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from feature_repo.aggregates.event_messages import EVENTS_TOPIC
from feature_repo.aggregates.fetch_rest import FetchRest
from feature_repo.aggregates.stream_apply import Records
from feature_repo.aggregates.stream_state import Position
from infra.settings import Settings

log = structlog.get_logger("stream_worker")

BROKER_TIMEOUT_S = 10.0
BEHIND_TIMEOUT_S = 2.0
REST_AFTER_S = 1.0  # without a record; a client that was paused takes up to a second until it fetches again
REST_S = 0.01  # between two looks at the end of a log that was read to its end
FETCH_AGAIN_MS = 10  # between two looks at whether what was fetched has been read
POLL_BYTES = 16 << 20  # messages may hold several events: a poll's events should be applied within a second
_CHUNK = 2_000
# Errors of a single poll that librdkafka recovers from by itself.
_PASSING = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._PARTITION_EOF,
    KafkaError._TIMED_OUT,
    KafkaError._UNKNOWN_PARTITION,  # a topic that was made a moment ago
}


class KeepsPositions(Protocol):
    """Who owns the offsets, by partition."""

    positions: dict[int, Position]


class EventStream:
    """A consumer of all partitions of a topic. No consumer group: `state` owns the offsets."""

    def __init__(
        self, settings: Settings, state: KeepsPositions, topic: str = EVENTS_TOPIC, reader: str = "stream-worker"
    ) -> None:
        self._topic = topic
        local = settings.broker_address is None
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.broker,
                "group.id": reader,  # required by the client, never joined
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",  # an offset that is gone is a loss: never skip over it silently
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
                # The local broker answers with all that a partition has, whatever size is asked for.
                "receive.message.max.bytes": 2_000_000_000,
                # Where a fetch at the end of the log is not held (`fetch_rest`), none is made while records wait to be read.
                "queued.min.messages": 1 if local else 100_000,
                "fetch.queue.backoff.ms": FETCH_AGAIN_MS,  # the client's default, a second, is a second of every event's way
            }
        )
        starts = {one: self._start(state, one) for one in self._partitions(settings)}
        self._consumer.assign([TopicPartition(topic, one, start) for one, start in starts.items()])
        self._rest = FetchRest(self._consumer, topic, starts) if local else None
        self._came_at = time.monotonic()  # when records came last
        self._next = starts  # by partition, the offset after the last record that was given

    def _partitions(self, settings: Settings) -> list[int]:
        """Partitions of the topic, which is created where it does not exist. Raises KafkaException without a broker."""
        found = self._consumer.list_topics(self._topic, timeout=BROKER_TIMEOUT_S).topics[self._topic]
        if found.error is not None or not found.partitions:
            admin = AdminClient({"bootstrap.servers": settings.broker})
            created = admin.create_topics([NewTopic(self._topic, num_partitions=1, replication_factor=1)])
            try:
                created[self._topic].result(timeout=BROKER_TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
            return [0]
        return sorted(found.partitions)

    def _start(self, state: KeepsPositions, partition: int) -> int:
        """Where to read on. A log that ends before our offset was lost by the broker: it is read anew from its beginning.

        Known event ids are skipped, so nothing is applied twice; a new generation keeps the lake's part names apart.
        """
        position = state.positions.get(partition)
        if position is None:
            return OFFSET_BEGINNING
        following = position.following
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=BROKER_TIMEOUT_S)
        if following > high:
            generation = position.generation + 1
            log.warning(
                "log lost by broker, reading anew", partition=partition, applied=following, end=high, generation=generation
            )
            state.positions[partition] = Position(low, generation, position.newest_us)
            return low
        if following < low:
            log.error("events expired unread", partition=partition, applied=following, beginning=low, lost=low - following)
            return low
        return following

    def poll(self, most: int, timeout_s: float) -> list[Records]:
        """Up to `most` records, by partition. Raises KafkaException on an error that does not pass."""
        if self._rest is not None and time.monotonic() - self._came_at >= REST_AFTER_S:
            if not self._anything_new():
                time.sleep(REST_S)
                return []
            self._came_at = time.monotonic()  # or as good as: fetching begins again
        messages = self._consumer.consume(most, timeout=timeout_s)
        errors = list(map(Message.error, messages))
        if errors.count(None) < len(errors):
            for error in filter(None, errors):
                if error.code() not in _PASSING and not error.retriable():
                    raise KafkaException(error)
                log.info("broker hiccup", error=str(error))
            messages = [message for message, error in zip(messages, errors, strict=True) if error is None]
        polled = _by_partition(messages)
        if polled:
            self._came_at = time.monotonic()
        for one in polled:
            self._next[one.partition] = one.offsets[-1] + 1
        if self._rest is not None:
            for one in polled:
                self._rest.read(one.partition, one.offsets[-1] + 1)
        return polled

    def behind(self) -> int:
        """Records at the broker that were not given yet. Raises KafkaException where no broker answers."""
        waiting = 0
        for partition, following in self._next.items():
            low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=BEHIND_TIMEOUT_S)
            waiting += high - max(following, low)
        return waiting

    def _anything_new(self) -> bool:
        try:
            return self._rest.anything_new()
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() not in _PASSING and not reason.retriable():
                raise
            log.info("broker hiccup", error=str(reason))
            return False

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()


def _by_partition(messages: list[Message]) -> list[Records]:
    partitions = list(map(Message.partition, messages))
    held = sorted(set(partitions))
    if len(held) == 1:  # nearly always: a fetch's records come one partition after the other
        return [_records(held[0], messages)]
    pairs = list(zip(messages, partitions, strict=True))
    return [_records(one, [message for message, partition in pairs if partition == one]) for one in held]


def _records(partition: int, messages: list[Message]) -> Records:
    values = [value or b"" for value in map(Message.value, messages)]
    stamps_ms = [stamp for _, stamp in map(Message.timestamp, messages)]
    return Records(partition, list(map(Message.offset, messages)), values, stamps_ms)
