"""The running releases behind the door: where they answer, whether they are well, and which one a user meets.

The route is read again every `ROUTE_EVERY_S`; a switch of the pointer changes who gets the *next* request. A request that
is under way keeps the arm it began with, so no switch ever cuts one off. An arm has to say which release it is: an address
may have come to another process since it was registered.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import structlog

from feature_repo.served_messages import EXPERIMENTS_HEADER, KNOBS_HEADER, SPLIT_HEADER, Split
from services.experiments.assignment import TREATMENT, Experiment, arms_of
from services.experiments.store import Experiments
from services.gateway.metrics import GatewayMetrics
from services.releases.handover import RELEASE_HEADER, not_itself
from services.releases.ledger import DoorView, Ledger
from services.releases.route import Route
from services.releases.split import in_canary

ROUTE_EVERY_S = 0.2
PROBE_EVERY_S = 1.0
PROBE_TIMEOUT_S = 2.0
FAILURES_TO_UNHEALTHY = 2  # probes in a row; a refused connection counts for all of them at once
REQUEST_TIMEOUT_S = 15.0  # of a request that sets none of its own
# Shorter than the 5 s after which uvicorn closes an idle connection: else a request could meet a closing one.
KEEP_ALIVE_S = 3.0

log = structlog.get_logger("gateway.arms")


@dataclass
class Arm:
    """One release's process, as the door sees it."""

    release_id: str
    url: str
    healthy: bool = True  # innocent until probed: a new arm gets traffic at once
    failures: int = 0
    in_flight: int = 0
    last_error: str | None = None

    def failed(self, why: str, *, at_once: bool = False) -> None:
        self.failures = FAILURES_TO_UNHEALTHY if at_once else self.failures + 1
        self.last_error = why
        if self.failures >= FAILURES_TO_UNHEALTHY and self.healthy:
            self.healthy = False
            log.warning("arm is unhealthy", release=self.release_id, url=self.url, why=why)

    def answered(self) -> None:
        if not self.healthy:
            log.info("arm is healthy again", release=self.release_id, url=self.url)
        self.healthy, self.failures, self.last_error = True, 0, None


@dataclass(frozen=True)
class Choice:
    """Who answers a user: the first of `arms` that can. `passed_over`: the arm of the user's release, where it is not well."""

    arms: tuple[Arm, ...] = ()
    passed_over: Arm | None = None
    split: Split | None = None  # which release the user belongs to, and in which step of a canary
    experiments: Mapping[str, str] = field(default_factory=dict)  # the user's arm by experiment
    knobs: Mapping[str, Any] = field(default_factory=dict)  # what those turn

    def headers(self) -> dict[str, str]:
        """What an arm is told of the user."""
        told = {} if self.split is None else {SPLIT_HEADER: self.split.to_header()}
        if self.experiments:
            told[EXPERIMENTS_HEADER] = json.dumps(self.experiments)
        return told | ({KNOBS_HEADER: json.dumps(self.knobs)} if self.knobs else {})


@dataclass
class ArmPool:
    """The arms and the route, kept fresh by two background tasks between `start` and `close`."""

    ledger: Ledger
    metrics: GatewayMetrics
    experiments: Experiments | None = None
    running: tuple[Experiment, ...] = ()  # experiments, as last read
    route: Route = field(default_factory=Route)
    arms: dict[str, Arm] = field(default_factory=dict)
    standby: str | None = None  # the release that was live before; it answers while the live one cannot
    live_since: float | None = None  # Unix seconds
    step: int | None = None  # the ledger's number of the canary's newest step
    read_at: float = 0.0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _session: aiohttp.ClientSession | None = None
    _refreshing: asyncio.Lock = field(default_factory=asyncio.Lock)  # an older read must not come after a newer one

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the arm pool is not started; enter the app's lifespan first")
        return self._session

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S, sock_connect=1.0),
            auto_decompress=False,
        )
        await self.refresh()
        self._tasks = [asyncio.create_task(self._follow_route()), asyncio.create_task(self._probe_arms())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def choose(self, user_id: str | int) -> Choice:
        """Who answers the user under the route as last read: the canary's users the canary, else live, else the standby.

        Arms that are not well come last: asked only when nobody else can answer.
        """
        live = self._arm(self.route.live)
        if live is None:
            return Choice()
        order = [live] if (standby := self._arm(self.standby)) is None else [live, standby]
        if self.route.canary is not None and in_canary(user_id, self.route.salt, self.route.canary_percent):
            order.insert(0, self._arm(self.route.canary))
        well = [arm for arm in order if arm.healthy]
        ill = [arm for arm in order if not arm.healthy and arm.release_id != self.route.canary]
        split = Split(order[0].release_id, self.route.canary, self.step)
        arms = arms_of(user_id, self.running) if self.running else {}
        turned = [one.knobs for one in self.running if arms.get(one.name) == TREATMENT]
        knobs = {name: value for knobs in turned for name, value in knobs.items()}
        return Choice((*well, *ill), None if order[0].healthy else order[0], split, arms, knobs)

    def _arm(self, release_id: str | None) -> Arm | None:
        """The release's arm; one that is not well where no process is registered for it."""
        if release_id is None:
            return None
        return self.arms.get(release_id) or Arm(release_id, "", healthy=False, last_error="no process registered")

    @property
    def failover(self) -> bool:
        """Whether the standby answers in the place of the live release."""
        live, standby = self._arm(self.route.live), self._arm(self.standby)
        return live is not None and not live.healthy and standby is not None and standby.healthy

    def _read(self) -> tuple[DoorView, tuple[Experiment, ...]]:
        return self.ledger.read_for_the_door(), () if self.experiments is None else self.experiments.running()

    async def refresh(self) -> None:
        """Read route and arms from the ledger now. An arm whose URL is unchanged keeps its health and counts."""
        async with self._refreshing:
            read, running = await asyncio.to_thread(self._read)
            for gone in set(self.arms) - set(read.arms):  # else its last health would be shown for ever
                self.metrics.forget(gone)
            self.arms = {
                name: known if (known := self.arms.get(name)) is not None and known.url == url else Arm(name, url)
                for name, url in read.arms.items()
            }
            before, route = self.route, read.route
            self.route, self.standby, self.live_since, self.step = route, read.standby, read.live_since, read.step
            self.running, self.read_at = running, time.monotonic()
            if route != before:
                log.info("route", live=route.live, canary=route.canary, percent=route.canary_percent, shadow=route.shadow)

    async def _follow_route(self) -> None:
        while True:
            await asyncio.sleep(ROUTE_EVERY_S)
            try:
                await self.refresh()
            except Exception as error:
                # The last route stays in force: a database that is down must not take the timeline down with it.
                log.error("the route could not be read; the last one stays in force", error=str(error))
            self.metrics.route_age.set(time.monotonic() - self.read_at)

    async def _probe_arms(self) -> None:
        while True:
            arms = list(self.arms.values())
            await asyncio.gather(*(self._probe(arm) for arm in arms))
            named = {self.route.live, self.route.canary, self.route.shadow, self.standby}
            for arm in [arm for arm in arms if self.arms.get(arm.release_id) is arm]:  # others went while they were probed
                if arm.release_id in named:
                    self.metrics.arm_healthy.labels(arm.release_id).set(arm.healthy)
                    self.metrics.in_flight.labels(arm.release_id).set(arm.in_flight)
                else:  # taken off the traffic: its process ends soon, and nobody is to be called for it
                    self.metrics.forget(arm.release_id)
            self.metrics.failover.set(self.failover)
            await asyncio.sleep(PROBE_EVERY_S)

    async def _probe(self, arm: Arm) -> None:
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        try:
            async with self.session.get(f"{arm.url}/ready", timeout=timeout) as answer:
                if answer.status != 200:
                    arm.failed(f"/ready answered {answer.status}")
                elif (said := answer.headers.get(RELEASE_HEADER)) != arm.release_id:
                    arm.failed(not_itself(said), at_once=True)
                else:
                    arm.answered()
        except (aiohttp.ClientError, TimeoutError) as error:
            refused = isinstance(error, aiohttp.ClientConnectorError)
            arm.failed(f"/ready: {type(error).__name__} {error}".strip(), at_once=refused)
