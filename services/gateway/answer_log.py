"""Writes how each request ended to the topic `served`: errors and time-outs leave no trace anywhere else."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass

from feature_repo.broker_topics import SERVED_TOPIC
from feature_repo.served_messages import ANOTHER_ANSWERED, DoorAnswer, fields_of
from services.gateway.arms import Choice
from services.gateway.inquest import wrong_with
from services.gateway.metrics import GatewayMetrics
from services.intake.producer import EventProducer

LOGGED = frozenset({"/for_you", "/following", "/score"})
CLOSING_S = 0.5  # at the end of the door, for what the broker has not taken yet
_POST = b'"post_id":'  # once for each post of a page


@dataclass(frozen=True)
class Asked:
    """Who asks, and for how many posts; None where the request names no number."""

    user: str
    posts: int | None = None


@dataclass(frozen=True)
class AnswerLog:
    """One message a request. It never waits: what the broker does not take is counted as lost."""

    producer: EventProducer
    metrics: GatewayMetrics

    def note(
        self,
        asked: Asked,
        choice: Choice,
        path: str,
        status: int,
        seconds: float,
        release: str | None = None,
        body: bytes = b"",
    ) -> None:
        """Note what the client got; `release`: whose `body` it is, None for an error of the door itself."""
        if path not in LOGGED:
            return
        split, wrong = choice.split, wrong_with(status, body, path)
        if wrong is None and split is not None and release not in (None, split.assigned):
            wrong = ANOTHER_ANSWERED
        message = DoorAnswer(
            user=asked.user,
            path=path,
            at=time.time_ns() // 1_000,
            status=status,
            ms=round(seconds * 1000, 3),
            assigned=None if split is None else split.assigned,
            canary=None if split is None else split.canary,
            step=None if split is None else split.step,
            release=release,
            wrong=wrong,
            experiments=dict(choice.experiments),
            posts=body.count(_POST) if status == 200 else 0,
            asked=asked.posts or 0,
        )
        self.producer.send(SERVED_TOPIC, asked.user, fields_of(message)).add_done_callback(self._count)

    def close(self) -> None:
        """Hand the queued messages to the broker; what it does not take in time is given up."""
        self.producer.close(CLOSING_S)

    def _count(self, sent: Future[int]) -> None:
        self.metrics.answer_log.labels("lost" if sent.exception() else "delivered").inc()
