"""Asks the door for pages at an even pace, and keeps what came: who answered, when, and whether anything did."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field

import httpx
import numpy as np

TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Reply:
    """One request: when it was sent and when its answer came (monotonic), its status (0: no answer at all), and who answered
    for whom."""

    at: float
    came: float
    status: int
    release: str | None
    meant: str | None  # the release that should have answered, where another one did


@dataclass
class Probe:
    """Requests of random users at `per_s` a second, from `start` to `stop`, in a thread of its own."""

    url: str
    users: int
    per_s: float
    seed: int
    replies: list[Reply] = field(default_factory=list)

    def start(self) -> None:
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask()), name="probe", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._leaving.set()
        self._thread.join()

    def since(self, moment: float) -> list[Reply]:
        """Replies to requests that were sent at or after `moment` (monotonic)."""
        return [reply for reply in self.replies if reply.at >= moment]

    async def _ask(self) -> None:
        users = np.random.default_rng(self.seed)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        async with httpx.AsyncClient(base_url=self.url, timeout=TIMEOUT_S, limits=limits) as client:
            under_way: set[asyncio.Task[None]] = set()
            following = time.monotonic()
            while not self._leaving.is_set():
                task = asyncio.create_task(self._one(client, int(users.integers(self.users))))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                following += 1 / self.per_s
                await asyncio.sleep(max(following - time.monotonic(), 0))
            await asyncio.gather(*under_way)

    async def _one(self, client: httpx.AsyncClient, user: int) -> None:
        at = time.monotonic()
        try:
            answer = await client.post("/for_you", json={"user_id": user, "count": 10})
        except httpx.HTTPError:
            self.replies.append(Reply(at, time.monotonic(), 0, None, None))
            return
        meant = answer.headers.get("x-mixer-fallback", "").partition(":")[0] or None
        self.replies.append(Reply(at, time.monotonic(), answer.status_code, answer.headers.get("x-mixer-release"), meant))
