"""A topic read by manual assignment, from offsets that the caller keeps."""

from __future__ import annotations

from typing import Protocol

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from feature_repo.aggregates.fetch_rest import FetchRest
from feature_repo.aggregates.stream_apply import Records
from feature_repo.aggregates.stream_state import Position
from feature_repo.broker_topics import EVENTS_TOPIC
from infra.settings import Settings

log = structlog.get_logger("stream_worker")

BROKER_TIMEOUT_S = 10.0
BEHIND_TIMEOUT_S = 2.0
LOOK_EVERY_S = 0.05  # between two looks at the end of a log that was read to its end, where the broker is the local one
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


class BrokerWasAway(KafkaException):
    """The broker of one machine went away. It writes what it acknowledged every second: the end of its log may be lost, and
    other records may have come in its place."""


class EventStream:
    """A consumer of all partitions of a topic. No consumer group: `state` owns the offsets."""

    def __init__(
        self,
        settings: Settings,
        state: KeepsPositions,
        topic: str = EVENTS_TOPIC,
        reader: str = "stream-worker",
        doubt_since_ms: int | None = None,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """doubt_since_ms: what the broker got since then (Unix milliseconds) is read again. `state` has to know records that
        come twice. look_every_s: least seconds between two looks at the end of the local broker's log."""
        self._topic, self._doubt_since_ms = topic, doubt_since_ms
        local = settings.broker_address is None
        self._was_away = False
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
                "error_cb": self._on_local_error if local else lambda error: None,
            }
        )
        starts = {one: self._start(state, one) for one in self._partitions(settings)}
        self._consumer.assign([TopicPartition(topic, one, start) for one, start in starts.items()])
        self._rest = FetchRest(self._consumer, topic, starts, look_every_s) if local else None
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
        if self._doubt_since_ms is not None and (again := self._first_since(partition, self._doubt_since_ms, high)) < following:
            log.warning(
                "broker was away, reading its newest records again", partition=partition, applied=following, start=again
            )
            state.positions[partition] = Position(again, position.generation + 1, position.newest_us)
            return again
        if following < low:
            log.error("events expired unread", partition=partition, applied=following, beginning=low, lost=low - following)
            return low
        return following

    def _first_since(self, partition: int, since_ms: int, end: int) -> int:
        """The offset of the first record that the broker got since then; `end` where there is none."""
        found = self._consumer.offsets_for_times([TopicPartition(self._topic, partition, since_ms)], timeout=BROKER_TIMEOUT_S)
        return found[0].offset if found[0].offset >= 0 else end

    def poll(self, most: int, timeout_s: float) -> list[Records]:
        """Up to `most` records, by partition. Raises KafkaException on an error that does not pass."""
        resting = self._rest is not None and not self._anything_new(self._rest, timeout_s)
        messages = self._consumer.consume(most, timeout=0 if resting else timeout_s)
        if self._was_away:  # told while we consumed: what came may be of another log than what was read before
            raise BrokerWasAway(f"the broker was away; topic {self._topic} is to be read anew from where all is known")
        errors = list(map(Message.error, messages))
        if any(errors):  # never compared with None: KafkaError's comparison leaves a TypeError behind, which comes up later
            for error in filter(None, errors):
                if error.code() not in _PASSING and not error.retriable():
                    raise KafkaException(error)
                log.info("broker hiccup", error=str(error))
            messages = [message for message, error in zip(messages, errors, strict=True) if error is None]
        polled = _by_partition(messages)
        for one in polled:
            self._next[one.partition] = one.offsets[-1] + 1
            if self._rest is not None:
                self._rest.read(one.partition, one.offsets[-1] + 1)
        return polled

    def behind(self) -> int:
        """Records at the broker that were not given yet. Raises KafkaException where no broker answers."""
        waiting = 0
        for partition, following in self._next.items():
            low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=BEHIND_TIMEOUT_S)
            waiting += high - max(following, low)
        return waiting

    @staticmethod
    def _anything_new(rest: FetchRest, timeout_s: float) -> bool:
        try:
            return rest.anything_new(timeout_s)
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() == KafkaError._DESTROY_BROKER:  # the client gave its connection up while it asked
                raise BrokerWasAway("the connection to the broker ended while its log was looked at") from error
            if reason.code() not in _PASSING and not reason.retriable():
                raise
            log.info("broker hiccup", error=str(reason))
            return False

    def _on_local_error(self, error: KafkaError) -> None:
        self._was_away |= error.code() == KafkaError._ALL_BROKERS_DOWN

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
