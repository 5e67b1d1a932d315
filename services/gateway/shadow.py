"""A release in shadow gets copies of real requests; what it answers is compared with the live answer and dropped."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
import orjson

from feature_repo.served_messages import COPY_HEADER
from services.gateway.background_copies import BackgroundCopies
from services.gateway.metrics import GatewayMetrics

if TYPE_CHECKING:
    from services.gateway.arms import Arm, ArmPool

COPIED = frozenset({"/for_you", "/following"})
AT_ONCE = 4  # copies under way
COMPARED_POSTS = 10


@dataclass
class Shadow:
    """Copies requests to the shadow arm in the background."""

    metrics: GatewayMetrics
    overlaps: deque[float] = field(default_factory=lambda: deque(maxlen=500))
    failures: int = 0
    skipped: int = 0
    _copies: BackgroundCopies = field(default_factory=lambda: BackgroundCopies(AT_ONCE))

    def copy(self, pool: ArmPool, path: str, body: bytes, headers: dict[str, str], live_answer: bytes) -> None:
        """Send a copy to the shadow arm, if there is one and it keeps up; returns at once."""
        if pool.route.shadow is None or path not in COPIED:
            return
        arm = pool.arms.get(pool.route.shadow)
        well = arm is not None and arm.healthy
        if not well or not self._copies.start(self._compare(pool, arm, path, body, headers, live_answer)):
            self.skipped += 1

    async def close(self) -> None:
        """Wait for the copies under way."""
        await self._copies.close()

    async def _compare(
        self, pool: ArmPool, arm: Arm, path: str, body: bytes, headers: dict[str, str], live_answer: bytes
    ) -> None:
        marked = {**headers, COPY_HEADER: arm.release_id}
        try:
            async with pool.session.post(arm.url + path, data=body, headers=marked) as reply:
                shadow_answer = await reply.read()
                reply.raise_for_status()
            share = overlap(live_answer, shadow_answer)
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
            self.failures += 1
            return
        if share is not None:
            self.overlaps.append(share)
            self.metrics.shadow_overlap.labels(arm.release_id).observe(share)


def overlap(live_answer: bytes, shadow_answer: bytes) -> float | None:
    """Share of the live answer's first posts that are among the shadow's first; None where live shows none.

    Raises ValueError, KeyError or TypeError for an answer that is no page.
    """
    live, shadow = (
        [post["post_id"] for post in orjson.loads(text)["posts"][:COMPARED_POSTS]] for text in (live_answer, shadow_answer)
    )
    return len(set(live) & set(shadow)) / len(live) if live else None
