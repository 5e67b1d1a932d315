"""Rest for a consumer that has read all there is, where the broker does not give it any.

Apache Kafka holds a fetch at the end of the log until records come (`fetch.wait.max.ms`). The local broker answers it at once
with nothing, and the client asks again at once: measured, 37,000 times a second, which takes a core of the client's and the
broker's machine. Partitions that are read to their end are therefore paused there, and their ends looked at instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

LOOK_S = 10.0  # how long the broker may take to tell a partition's end


class FetchRest:
    """Pauses and resumes the partitions of `consumer`. For the consumer's thread."""

    def __init__(self, consumer: Consumer, topic: str, following: Mapping[int, int]) -> None:
        """following: partition -> the next offset that the consumer will read, or OFFSET_BEGINNING."""
        self._consumer = consumer
        self._topic = topic
        self._following = dict(following)
        self._ends = dict.fromkeys(following, -1)
        self._paused: set[int] = set()

    def anything_new(self) -> bool:
        """Look at the ends of what was read to its end. Where any partition has more, all fetch again; else all pause.

        Raises KafkaException where the broker does not answer.
        """
        for partition, following in self._following.items():
            if self._ends[partition] <= following or following == OFFSET_BEGINNING:
                place = TopicPartition(self._topic, partition)
                low, self._ends[partition] = self._consumer.get_watermark_offsets(place, timeout=LOOK_S)
                if following == OFFSET_BEGINNING:
                    self._following[partition] = low
        # An end before the next offset is a log that was lost: fetching on says so.
        more = any(self._ends[one] != following for one, following in self._following.items())
        if more:
            self._switch(self._consumer.resume, self._paused)
        else:
            self._switch(self._consumer.pause, set(self._following) - self._paused)
        self._paused = set() if more else set(self._following)
        return more

    def read(self, partition: int, following: int) -> None:
        """Take note that the consumer read all before `following`."""
        self._following[partition] = following

    def _switch(self, how: Callable[[list[TopicPartition]], None], partitions: set[int]) -> None:
        if partitions:
            how([TopicPartition(self._topic, one) for one in sorted(partitions)])
