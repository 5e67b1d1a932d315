"""What the broker holds of the `events` topic that the stream worker has not saved yet."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Consumer, TopicPartition

from feature_repo.broker_topics import EVENTS_TOPIC

TIMEOUT_S = 2.0
_FETCH_BYTES = 65_536  # one record is looked at, so little is fetched


class BacklogReader:
    """Looks at the ends of the topic's partitions. For one thread; raises KafkaException while no broker answers."""

    def __init__(self, broker: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": broker,
                "group.id": "stream-backlog",  # required by the client, never joined
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.max.bytes": _FETCH_BYTES,
                "message.max.bytes": _FETCH_BYTES,
                "log_level": 0,  # that no broker answers is told by what is raised
            }
        )

    def look(self, following: Mapping[int, int]) -> tuple[int, float | None]:
        """(records from the offsets `following` on, when the first of them was sent in Unix seconds).

        following: partition -> next offset to be saved; a partition it lacks counts from its beginning. The time is None where
        nothing waits, or where the record did not come in time.
        """
        described = self._consumer.list_topics(EVENTS_TOPIC, timeout=TIMEOUT_S).topics[EVENTS_TOPIC]
        starts = []
        records = 0
        for partition in described.partitions:
            place = TopicPartition(EVENTS_TOPIC, partition)
            low, high = self._consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)
            start = max(following.get(partition, low), low)
            if start < high:
                records += high - start
                starts.append(TopicPartition(EVENTS_TOPIC, partition, start))
        return records, self._oldest_s(starts)

    def _oldest_s(self, starts: list[TopicPartition]) -> float | None:
        """When the oldest of the first records of some partitions was sent."""
        stamps = []
        for start in starts:
            self._consumer.assign([start])
            record = self._consumer.poll(TIMEOUT_S)
            if record is not None and record.error() is None:
                stamps.append(record.timestamp()[1] / 1_000)
        self._consumer.unassign()
        return min(stamps, default=None)

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()
