"""Pauses a consumer at the end of the log: the local broker answers at once with nothing, instead of holding the request.

Apache Kafka holds a fetch at the end of the log until records come (`fetch.wait.max.ms`). The local broker answers it at once
with nothing, and the client asks again at once: measured, 37,000 times a second, which takes a core of the client's and the
broker's machine. Partitions that are read to their end are therefore paused there, and their ends looked at now and then.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

LOOK_S = 10.0  # how long the broker may take to tell a partition's end


class FetchRest:
    """Pauses and resumes the partitions of `consumer`. For the consumer's thread."""

    def __init__(self, consumer: Consumer, topic: str, following: Mapping[int, int], look_every_s: float) -> None:
        """following: partition -> the next offset that the consumer will read, or OFFSET_BEGINNING. look_every_s: least
        seconds between two looks at the end of the log.
        """
        self._consumer = consumer
        self._topic = topic
        self._following = dict(following)
        self._ends = dict(following)  # as far as we looked
        self._paused: set[int] = set()
        self._look_every_s = look_every_s
        self._looked_at = -math.inf

    def anything_new(self, timeout_s: float) -> bool:
        """Whether there is something to fetch. Where any partition has more, all fetch; else all pause.

        When everything known has been read: wait until the next look is due, `timeout_s` at most, then ask the broker for the
        ends. Raises KafkaException where it does not answer.
        """
        if self._known_unread():
            return True
        due_s = self._looked_at + self._look_every_s - time.monotonic()
        if due_s > 0:
            time.sleep(min(due_s, timeout_s))
            if due_s > timeout_s:
                return False
        self._look()
        # An end before the next offset is a log that was lost: fetching on says so.
        more = any(self._ends[one] != following for one, following in self._following.items())
        if more:
            self._switch(self._consumer.resume, self._paused)
            self._paused = set()
            self._wake()
        else:
            self._pause()
        return more

    def _known_unread(self) -> bool:
        return any(self._ends[one] > following for one, following in self._following.items())

    def _pause(self) -> None:
        self._switch(self._consumer.pause, set(self._following) - self._paused)
        self._paused = set(self._following)

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        for partition, following in self._following.items():
            place = TopicPartition(self._topic, partition)
            low, self._ends[partition] = self._consumer.get_watermark_offsets(place, timeout=LOOK_S)
            if following == OFFSET_BEGINNING:
                self._following[partition] = low

    def _wake(self) -> None:
        """Ask the broker anything: the client's thread for it, which may sleep for a second, sees what was resumed."""
        self._consumer.get_watermark_offsets(TopicPartition(self._topic, next(iter(self._following))), timeout=LOOK_S)

    def read(self, partition: int, following: int) -> None:
        """Take note that the consumer read all before `following`; nothing is fetched where that is all that is known."""
        self._following[partition] = following
        if not self._known_unread():
            self._pause()

    def _switch(self, how: Callable[[list[TopicPartition]], None], partitions: set[int]) -> None:
        if partitions:
            how([TopicPartition(self._topic, one) for one in sorted(partitions)])
