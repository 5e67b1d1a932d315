"""Writes what was served to the topic `served`: without it, nothing can be judged later."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

import numpy as np

from feature_repo.broker_topics import SERVED_TOPIC
from feature_repo.heads import HEADS
from feature_repo.served_messages import ServedPage, fields_of, packed
from services.mixer.components import Component
from services.mixer.engine import Result

_HOUR_US = 3_600_000_000


class Sender(Protocol):
    """What takes a message for a topic; services.intake.producer.EventProducer is one."""

    def send(self, topic: str, key: str, value: dict) -> Future[int]: ...


class ServedLog(Component):
    """One message a request, keyed by user."""

    name = "served_log"
    deadline_ms = 1_000.0

    def __init__(self, sender: Sender, release: str, heads: Sequence[str], on_outcome: Callable[[str], None]) -> None:
        """`heads`: the actions that the release was trained to predict. `on_outcome` hears "delivered" or "lost" for each
        message, when the broker has it or it is given up."""
        self._sender = sender
        self._release = release
        self._heads = tuple(heads)
        self._places = [HEADS.index(head) for head in heads]
        self._on_outcome = on_outcome

    def run(self, result: Result) -> None:
        message = self._message(result)
        sent = self._sender.send(SERVED_TOPIC, str(message.user_id), fields_of(message))
        sent.add_done_callback(lambda done: self._on_outcome("lost" if done.exception() else "delivered"))

    def _message(self, result: Result) -> ServedPage:
        query, page, split = result.query, result.page, result.query.split
        predicted = "predictions" in page.columns  # a page of followed accounts is not ranked
        return ServedPage(
            request_id=query.request_id,
            user_id=query.user_id,
            product=query.product,
            release=self._release,
            served_at=query.now_us,
            posts=page.post_id.tolist(),
            authors=page.author_id.tolist(),
            surface=query.surface,
            logged_at=time.time_ns() // 1_000,
            assigned=None if split is None else split.assigned,
            canary=None if split is None else split.canary,
            step=None if split is None else split.step,
            snapshot=query.corpus.version,
            scores=page["score"].tolist(),
            sources=[page.source_names[index] for index in page.source],
            # A page is a deterministic function of its request: every post of it was shown with certainty, and of a copy,
            # which nobody sees, none was.
            propensity=[0.0 if query.is_copy else 1.0] * len(page),
            heads=list(self._heads) if predicted else [],
            predictions=packed(np.asarray(page["predictions"])[:, self._places]) if predicted else "",
            age_hours=_median_age(query.now_us, page["created_at_us"]) if len(page) else None,
            took_ms=round(result.took_ms, 3),
            shadow=query.is_copy,
            experiments=dict(query.experiments),
            degraded=list(result.trace.degraded),
        )


def _median_age(now_us: int, created_at_us: np.ndarray) -> float:
    return float(np.median(now_us - created_at_us)) / _HOUR_US
