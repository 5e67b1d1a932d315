"""Takes a release off the traffic within seconds when its answers are broken, without the judge (see inquest.py)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import structlog

from services.gateway.arms import Arm, ArmPool
from services.gateway.inquest import PAGES, Heard, Inquests, wrong_with
from services.gateway.metrics import GatewayMetrics
from services.gateway.shadow import COPY_HEADER
from services.releases.handover import check_heir
from services.releases.ledger import Ledger
from services.releases.states import ReleaseState, TransitionError

ACTOR = "fast path"
AT_ONCE = 8  # second answers under way; more are skipped, never queued

log = structlog.get_logger("gateway.fast_path")


@dataclass
class FastPath:
    """Hears every answer of an arm, sends copies while it suspects one, and rolls a broken release back. One per app."""

    pool: ArmPool
    ledger: Ledger
    metrics: GatewayMetrics
    inquests: Inquests = field(default_factory=Inquests)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    def answered(self, arm: Arm, path: str, body: bytes, headers: dict[str, str], heard: Heard) -> None:
        """Note what a user's request got from `arm`; returns at once."""
        if path not in PAGES:
            return
        now, release = time.monotonic(), arm.release_id
        other = self._beside(release)
        suspect = self.inquests.heard(release, other.release_id if other else None, heard, now)
        if suspect and other is not None:
            self._start(self._both(arm, other, path, body, headers, of_suspect=heard))
        canary = self.pool.arms.get(self.pool.route.canary or "")
        if release == self.pool.route.live and canary is not None and self.inquests.suspected(canary.release_id, now):
            self._start(self._both(canary, arm, path, body, headers, of_other=heard))

    async def close(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _beside(self, release: str) -> Arm | None:
        """The release whose answers show whether `release` alone is broken: the live one, of the live one the standby."""
        name = self.pool.route.live if release == self.pool.route.canary else self.pool.standby
        found = self.pool.arms.get(name or "")
        return found if found is not None and found.release_id != release else None

    def _start(self, work: Coroutine[None, None, None]) -> None:
        if len(self._under_way) >= AT_ONCE:
            work.close()
            return
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _both(
        self,
        suspect: Arm,
        other: Arm,
        path: str,
        body: bytes,
        headers: dict[str, str],
        of_suspect: Heard | None = None,
        of_other: Heard | None = None,
    ) -> None:
        """Ask whoever has not answered this request yet, and judge the pair."""
        of_suspect = of_suspect or await self._copy(suspect, path, body, headers)
        of_other = of_other or await self._copy(other, path, body, headers)
        if of_suspect is None or of_other is None:
            return
        finding = self.inquests.pair(suspect.release_id, other.release_id, of_suspect, of_other, time.monotonic())
        if finding is not None:
            await self._take_off(suspect.release_id, finding)

    async def _copy(self, arm: Arm, path: str, body: bytes, headers: dict[str, str]) -> Heard | None:
        """What the arm answers to a copy of the request; None where its process is gone, which is the keeper's business."""
        started = time.perf_counter()
        timeout = aiohttp.ClientTimeout(total=self.inquests.policy.lasts_s)
        marked = {**headers, COPY_HEADER: arm.release_id}
        try:
            async with self.pool.session.post(arm.url + path, data=body, headers=marked, timeout=timeout) as reply:
                answer = await reply.read()
                return Heard(wrong_with(reply.status, answer, path), time.perf_counter() - started)
        except TimeoutError:
            return Heard("no answer in time", time.perf_counter() - started)
        except aiohttp.ClientError:
            return None

    async def _take_off(self, release: str, finding: str) -> None:
        try:
            await asyncio.to_thread(self._roll_back, release, finding)
        except TransitionError as error:
            log.error("a broken release stays on the traffic", release=release, finding=finding, why=str(error))
            return
        self.metrics.fast_path.labels(release).inc()
        log.error("a broken release was taken off the traffic", release=release, finding=finding)
        await self.pool.refresh()

    def _roll_back(self, release: str, finding: str) -> None:
        state = self.ledger.state(release)
        if state in (ReleaseState.ROLLED_BACK, ReleaseState.RETIRED):
            return
        if state is ReleaseState.LIVE:
            since = datetime.fromisoformat(self.ledger.entries_of(release)[-1].at)
            age = (datetime.now(UTC) - since).total_seconds()
            if age > self.inquests.policy.fresh_s:
                raise TransitionError(f"{release} has been live for {age / 3600:.1f} h: it is people's to roll it back")
            check_heir(self.ledger, release)
        self.ledger.transition(release, ReleaseState.ROLLED_BACK, ACTOR, finding, {"decided_by": "the door's fast path"})
