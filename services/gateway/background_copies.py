"""Requests that the gateway sends besides people's: nobody waits for them, and only so many are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger("gateway.background_copies")


@dataclass
class BackgroundCopies:
    """A bounded set of background tasks. What exceeds `at_once` is skipped, never queued: copies must not slow the door."""

    at_once: int
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, copy: Coroutine[None, None, None]) -> bool:
        """Begin `copy` and return at once; False where too many are under way, and `copy` never runs."""
        if len(self._under_way) >= self.at_once:
            copy.close()
            return False
        task = asyncio.create_task(copy)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return True

    async def close(self) -> None:
        """Wait for the copies under way. One that fails stops nothing else."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a copy failed", exc_info=error)
