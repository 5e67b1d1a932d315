"""Writes what was served to the topic `served`: without it, nothing can be judged later."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from services.mixer.components import Component
from services.mixer.engine import Result

TOPIC = "served"


class Sender(Protocol):
    """What takes a message for a topic; services.intake.producer.EventProducer is one."""

    def send(self, topic: str, key: str, value: dict) -> Future[int]: ...


class ServedLog(Component):
    """One message a request, keyed by user."""

    name = "served_log"
    deadline_ms = 1_000.0

    def __init__(self, sender: Sender, release: str, on_outcome: Callable[[str], None]) -> None:
        """`on_outcome` hears "delivered" or "lost" for each message, when the broker has it or it is given up."""
        self._sender = sender
        self._release = release
        self._on_outcome = on_outcome

    def run(self, result: Result) -> None:
        query, page = result.query, result.page
        sources = [page.source_names[index] for index in page.source]
        message = {
            "request_id": query.request_id,
            "user_id": query.user_id,
            "product": query.product,
            "release": self._release,
            "served_at": query.now_us,
            "snapshot": query.corpus.version,
            "posts": page.post_id.tolist(),
            "authors": page.author_id.tolist(),
            "scores": page["score"].tolist(),
            "sources": sources,
            # A page is a deterministic function of its request: every post of it was shown with certainty, and of a copy,
            # which nobody sees, none was.
            "propensity": [0.0 if query.is_copy else 1.0] * len(page),
            "shadow": query.is_copy,
            "degraded": result.trace.degraded,
        }
        sent = self._sender.send(TOPIC, str(query.user_id), message)
        sent.add_done_callback(lambda done: self._on_outcome("lost" if done.exception() else "delivered"))
