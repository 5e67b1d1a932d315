"""Takes a release off the traffic within seconds when its answers are broken, without the judge (see inquest.py)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import structlog

from feature_repo.served_messages import COPY_HEADER
from services.gateway.arms import Arm, ArmPool
from services.gateway.background_copies import BackgroundCopies
from services.gateway.inquest import LATE, PAGES, SHEDDING, Heard, Inquests, wrong_with
from services.gateway.metrics import GatewayMetrics
from services.releases.handover import check_heir
from services.releases.ledger import Ledger
from services.releases.states import ReleaseState, TransitionError

ACTOR = "fast path"
AT_ONCE = 8  # second answers under way

log = structlog.get_logger("gateway.fast_path")


@dataclass
class FastPath:
    """Hears every answer of an arm, sends copies while it suspects one, and rolls a broken release back. One per app."""

    pool: ArmPool
    ledger: Ledger
    metrics: GatewayMetrics
    inquests: Inquests = field(default_factory=Inquests)
    _copies: BackgroundCopies = field(default_factory=lambda: BackgroundCopies(AT_ONCE))

    def answered(self, user: str, path: str, body: bytes, headers: dict[str, str], heard: Mapping[str, Heard]) -> None:
        """Note what a request of `user` got, by release: from the one that answered, and from one that failed before it.

        Returns at once.
        """
        if path not in PAGES or not heard:
            return
        now, route = time.monotonic(), self.pool.route
        for release, answer in heard.items():
            other = self._beside(release)
            self.inquests.heard(release, other, self._fair(release, answer), now, may_open=self._may_be_suspected(release))
        for suspect in (route.canary, route.live):
            other = self._beside(suspect)
            if suspect and other and self.inquests.suspected(suspect, now) and {suspect, other} & set(heard):
                self._copies.start(self._both(suspect, other, user, path, body, headers, heard))

    def _fair(self, release: str, answer: Heard) -> Heard:
        """A live release sheds load that the one beside it does not have: that is no fault of it."""
        sheds = release == self.pool.route.live and answer.wrong == SHEDDING
        return Heard(None, answer.seconds) if sheds else answer

    def _may_be_suspected(self, release: str) -> bool:
        if release == self.pool.route.canary:
            return True
        since = self.pool.live_since
        return release == self.pool.route.live and since is not None and time.time() - since < self.inquests.policy.fresh_s

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._copies.close()

    def _beside(self, release: str | None) -> str | None:
        """The release whose answers show whether `release` alone is broken: the live one, of the live one the standby."""
        name = self.pool.route.live if release == self.pool.route.canary else self.pool.standby
        return name if name in self.pool.arms and name != release else None

    async def _both(
        self,
        suspect: str,
        other: str,
        user: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
        heard: Mapping[str, Heard],
    ) -> None:
        """Ask whoever has not answered this request yet, and judge the pair.

        Times are compared of answers that were asked for at the same time: where the suspect was slow at first, both are
        asked now. Else a busy moment of the machine would count against the suspect alone.
        """
        known = {release: answer for release, answer in heard.items() if answer.wrong is not None}
        answers = await asyncio.gather(*(self._answer(release, path, body, headers, known) for release in (suspect, other)))
        if None in answers:
            return
        of_suspect, of_other = self._fair(suspect, answers[0]), answers[1]
        loaded, now = suspect == self.pool.route.live, time.monotonic()
        finding = self.inquests.pair(suspect, other, user, of_suspect, of_other, now, loaded=loaded)
        if finding is not None:
            await self._take_off(suspect, finding)

    async def _answer(
        self, release: str, path: str, body: bytes, headers: dict[str, str], known: Mapping[str, Heard]
    ) -> Heard | None:
        arm = self.pool.arms.get(release)
        return known.get(release) or (None if arm is None else await self._copy(arm, path, body, headers))

    async def _copy(self, arm: Arm, path: str, body: bytes, headers: dict[str, str]) -> Heard | None:
        """What the arm answers to a copy of the request; None where its process is gone, which is the keeper's business."""
        started = time.perf_counter()
        timeout = aiohttp.ClientTimeout(total=self.inquests.policy.copy_s)
        marked = {**headers, COPY_HEADER: arm.release_id}
        try:
            async with self.pool.session.post(arm.url + path, data=body, headers=marked, timeout=timeout) as reply:
                answer = await reply.read()
                return Heard(wrong_with(reply.status, answer, path), time.perf_counter() - started)
        except TimeoutError:
            return Heard(LATE, time.perf_counter() - started)
        except aiohttp.ClientError:
            return None

    async def _take_off(self, release: str, finding: str) -> None:
        try:
            acted = await asyncio.to_thread(self._roll_back, release, finding)
        except TransitionError as error:
            log.error("a broken release stays on the traffic", release=release, finding=finding, why=str(error))
            return
        if acted:
            self.metrics.fast_path.labels(release).inc()
            log.error("a broken release was taken off the traffic", release=release, finding=finding)
        await self.pool.refresh()

    def _roll_back(self, release: str, finding: str) -> bool:
        """Whether this took the release off the traffic; False where somebody else had done so before."""
        if self.ledger.state(release) in (ReleaseState.ROLLED_BACK, ReleaseState.RETIRED):
            return False
        check_heir(self.ledger, release)
        self.ledger.transition(release, ReleaseState.ROLLED_BACK, ACTOR, finding, {"decided_by": "the door's fast path"})
        return True
