"""An examined batch on its way to the broker, and what became of each event."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from feature_repo.broker_topics import DEAD_LETTERS_TOPIC, EVENTS_TOPIC
from services.intake.events import Examined, Rejected, dead_letter
from services.intake.producer import EventProducer, MessageTooLarge

PLACES_NAMED = 20  # of events that were not delivered, in words


@dataclass(frozen=True)
class Delivered:
    """What the broker has, what was refused, and by place in the batch why something is not there."""

    events: list[dict]
    rejected: list[Rejected]
    failed: dict[int, BaseException]

    @property
    def unmatched(self) -> int:
        """Events that name a request and carry no release: the page was served by another process, or too long ago."""
        return sum(event["request_id"] is not None and event["release"] is None for event in self.events)

    def failure(self, batch: int) -> str:
        """In words, which of `batch` events are to be sent again."""
        places = sorted(self.failed)
        named = ", ".join(map(str, places[:PLACES_NAMED])) + (", ..." if len(places) > PLACES_NAMED else "")
        return f"{len(places)} of {batch} events were not delivered, those at {named}: {self.failed[places[0]]}"


async def deliver(producer: EventProducer, examined: Examined) -> Delivered:
    """Send accepted events to their topic and refused ones to the dead letters; wait until each is there or failed."""
    received_us = time.time_ns() // 1000
    sent = [producer.send(EVENTS_TOPIC, str(event["user_id"]), event) for event in examined.accepted]
    letters = [producer.send(DEAD_LETTERS_TOPIC, "rejected", dead_letter(one, received_us)) for one in examined.rejected]
    outcomes = await asyncio.gather(*map(asyncio.wrap_future, [*sent, *letters]), return_exceptions=True)
    places = [*examined.indexes, *(refused.index for refused in examined.rejected)]
    events = [event for event, outcome in zip(examined.accepted, outcomes, strict=False) if isinstance(outcome, int)]
    too_large = [
        Rejected(index, str(outcome), event)
        for index, event, outcome in zip(examined.indexes, examined.accepted, outcomes, strict=False)
        if isinstance(outcome, MessageTooLarge)
    ]
    failed = {
        place: outcome
        for place, outcome in zip(places, outcomes, strict=True)
        if isinstance(outcome, BaseException) and not isinstance(outcome, MessageTooLarge)
    }
    return Delivered(events, sorted([*examined.rejected, *too_large], key=lambda one: one.index), failed)
