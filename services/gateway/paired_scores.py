"""During a canary, the release that did not answer a page is asked what it would have predicted for the same posts.

So both releases are judged on the same posts with the same outcomes: a comparison of each on its own pages would mix how well
it predicts with how easy its pages are to predict. Nobody waits for these copies, and at most so many a second are made.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import aiohttp
import orjson

from feature_repo.served_messages import COPY_HEADER
from services.gateway.arms import Arm, ArmPool
from services.gateway.background_copies import BackgroundCopies
from services.gateway.metrics import GatewayMetrics

PAIRED = frozenset({"/for_you", "/score"})  # pages that are ranked by predictions
AT_ONCE = 4  # copies under way
BUSY = 3  # people's requests under way at a release: one that has so many is asked for nothing besides
BURST_S = 1.0  # of the allowance may be saved up
_PASSED_ON = ("user_id", "requested_at", "weights")


@dataclass
class PairedScores:
    """Sends copies in the background. One per app."""

    metrics: GatewayMetrics
    per_s: float
    _left: float = 0.0
    _since: float = field(default_factory=time.monotonic)
    _copies: BackgroundCopies = field(default_factory=lambda: BackgroundCopies(AT_ONCE))

    def copy(self, pool: ArmPool, release: str, path: str, body: bytes, answer: bytes) -> None:
        """Have the other release of a canary score what `release` answered; returns at once."""
        canary = pool.route.canary
        if canary is None or path not in PAIRED or release not in (canary, pool.route.live):
            return
        arm = pool.arms.get(str(pool.route.live if release == canary else canary))
        busy = arm is None or not arm.healthy or arm.in_flight >= BUSY
        if busy or not self._may(time.monotonic()) or not self._copies.start(self._ask(pool, arm, path, body, answer)):
            self.metrics.paired_scores.labels("skipped").inc()

    async def close(self) -> None:
        """Wait for the copies under way."""
        await self._copies.close()

    def _may(self, now: float) -> bool:
        self._left = min(self._left + (now - self._since) * self.per_s, max(self.per_s * BURST_S, 1.0))
        self._since = now
        if self.per_s <= 0 or self._left < 1:
            return False
        self._left -= 1
        return True

    async def _ask(self, pool: ArmPool, arm: Arm, path: str, body: bytes, answer: bytes) -> None:
        headers = {COPY_HEADER: arm.release_id, "content-type": "application/json"}
        try:
            wanted = same_posts(path, orjson.loads(body), orjson.loads(answer))
            if not wanted["post_ids"]:
                return
            async with pool.session.post(f"{arm.url}/score", data=orjson.dumps(wanted), headers=headers) as reply:
                await reply.read()
                reply.raise_for_status()
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError, KeyError, TypeError):
            self.metrics.paired_scores.labels("failed").inc()
            return
        self.metrics.paired_scores.labels("scored").inc()


def same_posts(path: str, asked: dict, answered: dict) -> dict:
    """The request for scores of the posts that an answer showed, under the answer's own request_id.

    Its moment is that of the page. Raises KeyError for an answer that is no page.
    """
    shown = answered["posts"] if path != "/score" else answered["scores"]
    surface = asked.get("product") or (path.strip("/") if path != "/score" else None)
    request = {name: asked[name] for name in _PASSED_ON if asked.get(name) is not None}
    request |= {"post_ids": [post["post_id"] for post in shown], "request_id": answered["request_id"]}
    if "requested_at" not in request and "served_at" in answered:
        request["requested_at"] = answered["served_at"]
    return request if surface is None else {**request, "product": surface}
