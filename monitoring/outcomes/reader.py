"""Reads the topics `served` and `events` side by side, and hands both to the store.

An event is held back for a moment: the page that it answers may reach the broker a little later than the event itself.
From the broker of one machine everything is held back until it is written there: where that broker is killed, the end of its
log is lost, and a reader begins again at what is in the store.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import polars as pl
import structlog
from confluent_kafka import KafkaException

from feature_repo.aggregates.event_messages import decode
from feature_repo.aggregates.event_stream import EventStream
from feature_repo.aggregates.stream_apply import Records
from feature_repo.aggregates.stream_state import Position
from feature_repo.broker_topics import EVENTS_TOPIC, SERVED_TOPIC
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.served_messages import DoorAnswer, ServedPage, decode_served
from infra.settings import Settings
from monitoring.outcomes.answers import RELEVANT, Event
from monitoring.outcomes.store import Offset, OutcomeStore, Taken

POLL_RECORDS = 1_000  # a transaction's worth
POLL_S = 0.05
HELD_BACK_S = 2.0  # an event, after pages that came with it
WRITTEN_AFTER_S = 1.5  # the broker of one machine writes every second
HELD_RECORDS = 20_000  # of each topic
NEAR_END_S = 3.0  # of a record of `served`: older ones tell that more wait behind them
OLD_S = 6.0  # what the broker got so long ago needs no holding back
LOOK_EVERY_S = 0.25  # between two looks at the end of a topic
TAKE_EVERY_S = 1.0  # between two transactions: one for each page would cost more than the pages
TIDY_EVERY_S = 5.0  # between two looks at the broker, and at pages whose labels are complete by now

log = structlog.get_logger("outcomes")


@dataclass
class Positions:
    """Where a topic is read on, as EventStream keeps it."""

    positions: dict[int, Position] = field(default_factory=dict)


class Held:
    """Records of a topic that are held back for `seconds` after they came."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[tuple[float, Records]] = deque()
        self.count = 0

    def add(self, polled: list[Records]) -> None:
        now = time.monotonic()
        self._waiting += [(now, records) for records in polled]
        self.count += _records(polled)

    def due(self) -> list[Records]:
        """Up to a transaction's worth of what was held back for long enough: since it came, or since the broker got it."""
        due: list[Records] = []
        while self._waiting and _records(due) < POLL_RECORDS:
            came, records = self._waiting[0]
            if time.monotonic() - came < self._seconds and time.time() - records.stamps_ms[-1] / 1_000 < OLD_S:
                break
            due.append(self._waiting.popleft()[1])
        self.count -= _records(due)
        return due


class OutcomeReader:
    """One reader over one store; `step` takes in what came."""

    def __init__(self, settings: Settings, store: OutcomeStore) -> None:
        self._store = store
        self._positions = {
            topic: Positions({place: Position(one.following, one.generation) for place, one in store.offsets(topic).items()})
            for topic in (SERVED_TOPIC, EVENTS_TOPIC)
        }
        self._served, self._events = (
            EventStream(settings, self._positions[topic], topic, "outcomes", look_every_s=LOOK_EVERY_S)
            for topic in (SERVED_TOPIC, EVENTS_TOPIC)
        )
        written_after_s = WRITTEN_AFTER_S if settings.broker_address is None else 0.0
        self._pages, self._acts = Held(written_after_s), Held(written_after_s + HELD_BACK_S)
        self._taken_at = self._looked_at = -math.inf

    def step(self) -> Taken | None:
        """Take in what one poll gives, and the events whose time has come; None where there was nothing to do.

        Raises KafkaException for an error of the broker that does not pass by itself.
        """
        polled: list[Records] | None = None
        if self._pages.count < HELD_RECORDS:
            polled = self._served.poll(POLL_RECORDS, POLL_S)
            self._pages.add(polled)
        if self._acts.count < HELD_RECORDS:
            self._acts.add(self._events.poll(POLL_RECORDS, POLL_S))
        now = time.monotonic()
        if now - self._taken_at < TAKE_EVERY_S and self._pages.count < POLL_RECORDS:
            return None
        served = self._pages.due()
        # While pages wait at the broker, the one that an event answers may be among them.
        caught_up = polled is not None and self._reaches_the_end(polled)
        events = self._acts.due() if caught_up else []
        fresh = now - self._looked_at >= TIDY_EVERY_S and self._is_fresh(now, caught_up=caught_up)
        if not served and not events and not fresh and now - self._taken_at < TIDY_EVERY_S:
            return None
        self._taken_at = now
        return self._take(served, events, fresh=fresh)

    def _reaches_the_end(self, polled: list[Records]) -> bool:
        """Whether no page waits at the broker for long, after a poll of them. One that gave nothing may have come too early."""
        if polled:
            return _is_newest(polled)
        try:
            return self._served.behind() == 0
        except KafkaException as error:
            log.warning("the broker does not answer", error=str(error))
            return False

    def _is_fresh(self, now: float, *, caught_up: bool) -> bool:
        """Whether the broker answers and nothing waits there for long: a judge may then believe that it has seen everything."""
        self._looked_at = now
        try:
            return caught_up and self._served.behind() <= POLL_RECORDS and self._events.behind() <= HELD_RECORDS
        except KafkaException as error:
            log.warning("the broker does not answer", error=str(error))
            return False

    def close(self) -> None:
        """Let go of the broker. Events that are held back are read again by the next reader."""
        self._served.close()
        self._events.close()

    def _take(self, served: list[Records], events: list[Records], *, fresh: bool) -> Taken:
        pages, answers, odd = _messages(served)
        happened, newest_us = _happened(events)
        offsets = {
            (topic, one.partition): Offset(one.offsets[-1] + 1, self._generation(topic, one.partition))
            for topic, records in ((SERVED_TOPIC, served), (EVENTS_TOPIC, events))
            for one in records
        }
        taken = self._store.take(pages, answers, happened, offsets, newest_us, fresh=fresh)
        for words in [*odd, *taken.odd]:
            log.warning("a message fits nothing and is left out", why=words)
        if taken.pages or taken.answers or taken.events or taken.ripe:
            log.info(
                "taken in",
                pages=taken.pages,
                answers=taken.answers,
                events=taken.events,
                unmatched=taken.unmatched,
                ripe=taken.ripe,
            )
        return taken

    def _generation(self, topic: str, partition: int) -> int:
        position = self._positions[topic].positions.get(partition)
        return 0 if position is None else position.generation


def _is_newest(polled: list[Records]) -> bool:
    """Whether what a poll gave reaches the end of the log, or nearly so: it always goes on while people come."""
    oldest_s = time.time() - min(one.stamps_ms[-1] for one in polled) / 1_000
    return _records(polled) < POLL_RECORDS and oldest_s < NEAR_END_S


def _records(some: Iterable[Records]) -> int:
    return sum(len(one.offsets) for one in some)


def _messages(served: list[Records]) -> tuple[list[ServedPage], list[DoorAnswer], list[str]]:
    pages: list[ServedPage] = []
    answers: list[DoorAnswer] = []
    odd = []
    for records in served:
        for offset, text in zip(records.offsets, records.values, strict=True):
            try:
                message = decode_served(text)
            except msgspec.DecodeError as error:
                odd.append(f"{SERVED_TOPIC} {records.partition}/{offset}: {error}")
                continue
            if b"\\u0000" in text:  # no text column of PostgreSQL holds one
                odd.append(f"{SERVED_TOPIC} {records.partition}/{offset}: holds a NUL character")
                continue
            (pages if isinstance(message, ServedPage) else answers).append(message)
    return pages, answers, odd


def _happened(records: list[Records]) -> tuple[list[Event], int | None]:
    """The events that may answer pages, and the newest moment of all. The stream worker reports what can't be read."""
    if not records:
        return [], None
    events = decode([value for one in records for value in one.values]).events
    dated = events.filter(pl.col("product") != HISTORY_BEFORE).with_columns(at_us=pl.col("occurred_at").dt.epoch("us"))
    chosen = dated.filter(pl.col("action").is_in(RELEVANT)).with_columns(pl.col("request_id").fill_null(""))
    rows = chosen.select("user_id", "post_id", "action", "request_id", "at_us").sort("at_us", maintain_order=True)
    return [Event(*row) for row in rows.iter_rows()], dated["at_us"].max()
