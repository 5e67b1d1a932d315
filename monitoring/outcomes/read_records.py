"""Deletes from the broker of one machine what all of its readers have taken in.

That broker writes everything that it holds, every second: a fifth of a core for 20 MB, so that a log which only grows takes the
machine within an hour. Apache Kafka writes what is new, and has a retention of its own: there nothing is deleted.
"""

from __future__ import annotations

import threading
import time

import structlog
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from feature_repo.aggregates.stream_output import read_progress
from feature_repo.broker_topics import DEAD_LETTERS_TOPIC, EVENTS_TOPIC, SERVED_TOPIC
from infra.settings import Settings
from monitoring.outcomes.evidence import Outcomes

EVERY_S = 5.0
LETTERS_KEPT = 10_000  # newest records of the topic that no program reads
KEPT_S = 5.0  # what came since stays in any case: the broker may be killed before it has written it
BROKER_S = 5.0  # that the broker has for one answer

log = structlog.get_logger("outcomes")


class ReadRecords:
    """The records of `served` and `events` that nobody will read again."""

    def __init__(self, settings: Settings, outcomes: Outcomes) -> None:
        self._settings, self._outcomes = settings, outcomes
        self._admin = AdminClient({"bootstrap.servers": settings.broker, "log_level": 2})
        self._consumer = Consumer({"bootstrap.servers": settings.broker, "group.id": "read-records", "log_level": 2})

    def keep_deleting(self, leaving: threading.Event) -> None:
        """Delete every few seconds, until `leaving` is set."""
        while not leaving.wait(EVERY_S):
            try:
                self.delete()
            except Exception as error:  # it is away, or slow: what was read stays for another while
                log.warning("read records were not deleted", why=f"{type(error).__name__}: {error}")
        self._consumer.close()

    def delete(self, kept_s: float = KEPT_S) -> dict[tuple[str, int], int]:
        """Delete what came longer ago than `kept_s` and was read; returns by topic and partition where the log begins now.

        Raises KafkaException where the broker does not answer.
        """
        read = {
            (topic, partition): following
            for topic in (SERVED_TOPIC, EVENTS_TOPIC)
            for partition, following in self._outcomes.read_up_to(topic).items()
        }
        progress = read_progress(self._settings)
        streamed = {} if progress is None else {int(place): end for place, end in progress["offsets"].items()}
        for topic, partition in list(read):
            if topic == EVENTS_TOPIC:  # the stream worker reads them too
                read[topic, partition] = min(read[topic, partition], streamed.get(partition, 0))
        begins = {place: min(following, self._first_since(place, kept_s)) for place, following in read.items()}
        begins |= self._letters()
        wanted = [TopicPartition(*place, offset) for place, offset in begins.items() if offset > 0]
        for answer in self._admin.delete_records(wanted, request_timeout=BROKER_S).values() if wanted else ():
            answer.result(BROKER_S)
        return begins

    def _letters(self) -> dict[tuple[str, int], int]:
        """Where the dead letters that are kept begin."""
        partitions = self._consumer.list_topics(DEAD_LETTERS_TOPIC, timeout=BROKER_S).topics[DEAD_LETTERS_TOPIC].partitions
        places = [(DEAD_LETTERS_TOPIC, partition) for partition in partitions]
        return {place: max(self._end(place) - LETTERS_KEPT, 0) for place in places}

    def _end(self, place: tuple[str, int]) -> int:
        return self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=BROKER_S)[1]

    def _first_since(self, place: tuple[str, int], kept_s: float) -> int:
        """The offset of the first record that came since; the log's end where there is none."""
        since_ms = round(1_000 * (time.time() - kept_s))
        found = self._consumer.offsets_for_times([TopicPartition(*place, since_ms)], timeout=BROKER_S)[0]
        if found.offset >= 0:
            return found.offset
        return self._end(place)
