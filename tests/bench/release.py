"""How releases and processes hold on live traffic: every process killed, broken releases let in, the controller killed."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from flows.steps.progress import announce
from infra.process_spec import ProcessSpec
from infra.processes import mixer_name
from infra.supervisor import KEEPER, Supervisor
from services.releases.approvals import Approvals
from services.releases.decisions import decide
from services.releases.ledger import Ledger
from services.releases.plan import RolloutPlan
from services.releases.rollouts import Rollouts
from services.releases.states import ReleaseState
from tests.bench.broken_release import FAULTS
from tests.bench.release_platform import BenchPlatform, percentiles, running_platform
from tests.bench.release_probe import Probe, Reply
from tests.free_ports import free_port
from tests.unit.releases.made_releases import manifest

WAIT_S = 120.0  # for anything; beyond it, it did not happen
REST_S = 5.0  # between two kills
SPEED = 500  # of the world's time: 1,500 people ask for some ten pages a second then, and act on them
STEP_S = 24 * 3_600 / SPEED  # a day of the world's, which is what a step may take where nobody says otherwise
GRACE_S = 1.0  # in which the door follows the ledger
ENDED = (ReleaseState.ROLLED_BACK, ReleaseState.RETIRED)
ACTOR, WHY = "bench", "measuring"


PARTS = ("kills", "faults", "controller")


def bench_release(
    folder: Path, *, users: int, posts: int, per_s: float, rounds: int, seed: int, parts: tuple[str, ...] = PARTS
) -> dict[str, Any]:
    """Figures of one run: the world's people live on the platform, and a probe beside them asks for `per_s` pages a second.

    heal_s: by process, from `kill -9` until it works again. off_traffic_s: by fault, from a broken release's first answer until
    it has no traffic. availability: share of all requests that got a page. dropped: requests without any answer.
    wrong_release_answers: pages of a release that had no traffic then. rounds: kills of each process.
    """
    with running_platform(folder, users, posts, seed) as platform:
        bench = _Bench(platform, Probe(platform.settings.gateway_url, users, per_s, seed))
        second = bench.release_to_live()
        with platform.beside("traffic", "world", "--speed", str(SPEED)):
            bench.probe.start()
            heal = bench.kill_each(rounds) if "kills" in parts else {}
            off = {fault: bench.let_in(fault) for fault in FAULTS} if "faults" in parts else {}
            controlled = bench.controller_killed_on_the_way() if "controller" in parts else {}
            bench.probe.stop()
        replies = bench.probe.replies
        return {
            "requests": len(replies),
            "availability": round(sum(reply.status == 200 for reply in replies) / max(len(replies), 1), 5),
            "dropped": sum(reply.status == 0 for reply in replies),
            "errors_by_status": _statuses(replies),
            "wrong_release_answers": len(bench.wrong_answers()),
            "wrong_releases": sorted({str(reply.release) for reply in bench.wrong_answers()}),
            "live_from_start": second,
            "heal_s": heal,
            "off_traffic_s": off,
            "controller_killed": controlled,
        }


def _statuses(replies: list[Reply]) -> dict[str, int]:
    bad = [reply.status for reply in replies if reply.status != 200]
    return {str(status): bad.count(status) for status in sorted(set(bad))}


class _Bench:
    """The steps of a run."""

    def __init__(self, platform: BenchPlatform, probe: Probe) -> None:
        self.platform, self.probe, self.url = platform, probe, platform.settings.platform_database_url
        self.ledger, self.supervisor = Ledger(self.url), Supervisor(platform.settings)
        self._allowed: list[tuple[float, set[str]]] = [(time.monotonic(), {"r1"})]

    # ---- releases -------------------------------------------------------------------------------------------------
    def release_to_live(self) -> str:
        """A second release of the same model goes live, so that the first stands by."""
        announce("a second release, so that the first stands by")
        version = self._copy_of_champion()
        self.platform.mixer("run", "release", version, "--note", "bench", "--min-users", "2")
        release_id = self.ledger.releases()[-1].release_id
        self._until(lambda: self.ledger.route().canary == release_id)
        self._to_live(release_id)
        self._until(lambda: self.ledger.standby() == "r1")
        self._allow({release_id, "r1"})
        return release_id

    def _to_live(self, release_id: str) -> None:
        while self.ledger.state(release_id) is ReleaseState.CANARY:
            decide(self.url, release_id, "promote", ACTOR, WHY)
        decide(self.url, release_id, "approve", ACTOR, WHY)
        self._until(lambda: self.ledger.state(release_id) is ReleaseState.LIVE)

    def _copy_of_champion(self) -> str:
        script = (
            "from infra.settings import apply_environment; s = apply_environment(); from mlflow import MlflowClient; "
            "from flows.training import registry as r; c = MlflowClient(s.tracking_uri); "
            "v = r.look_up(s, r.resolve(s, 'champion')); "
            "print(c.create_model_version(r.MODEL_NAME, v.source, v.run_id, tags=v.tags).version)"
        )
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=self.platform.environment, capture_output=True, text=True, check=True)
        return done.stdout.split()[-1]

    # ---- kills ----------------------------------------------------------------------------------------------------
    def kill_each(self, rounds: int) -> dict[str, Any]:
        """By process, how long it took until it worked again after `kill -9`."""
        names = [process.name for process in self.supervisor.running()]
        healed: dict[str, list[float]] = {name: [] for name in sorted(names)}
        for number in range(rounds):
            for name in healed:
                announce(f"kill -9 {name}, round {number + 1} of {rounds}")
                healed[name].append(self._killed(name))
                time.sleep(REST_S)
        return {name: percentiles(seconds) for name, seconds in healed.items()}

    def _killed(self, name: str) -> float:
        running = self.supervisor.find(name)
        if running is None:
            raise RuntimeError(f"{name} does not run, so it can't be killed")
        os.kill(running.pid, signal.SIGKILL)
        began = time.monotonic()
        self._until(lambda: self._works(name, running.pid))
        return time.monotonic() - began

    def _works(self, name: str, killed: int) -> bool:
        found = self.supervisor.find(name)
        if found is None or found.pid == killed:
            return False
        if name == KEEPER:
            return True
        spec = self.supervisor.wanted(name)
        if spec is None or spec.ready_url is None:
            return spec is None or spec.ready_port is None or _listens(spec.ready_port)
        try:
            return httpx.get(spec.ready_url, timeout=1.0).is_success
        except httpx.HTTPError:
            return False

    # ---- broken releases ------------------------------------------------------------------------------------------
    def let_in(self, fault: str) -> dict[str, Any]:
        """A release with this fault becomes a canary for half of the users: how long until it has no traffic any more."""
        announce(f"a release that is {fault}")
        release_id = f"broken-{fault.replace('_', '-')}"
        self.ledger.create(manifest(release_id), ACTOR)
        with self._broken(release_id, fault) as address:
            self.ledger.register_arm(release_id, address)
            self._allow({*self._allowed[-1][1], release_id})
            Rollouts(self.url).submit(release_id, RolloutPlan(ramp=(50.0,)), ACTOR)
            began = time.monotonic()
            self.ledger.transition(release_id, ReleaseState.CANARY, ACTOR, WHY, percent=50.0)
            self._until(lambda: self.ledger.state(release_id) in ENDED)
            ended = time.monotonic()
        self.ledger.remove_arm(release_id)
        self._allow(self._allowed[-1][1] - {release_id})
        met = [reply.came for reply in self.probe.since(began) if release_id in (reply.release, reply.meant)]
        entry = self.ledger.entries_of(release_id)[-1]
        return {
            "seconds": round(max(ended - min(met, default=began), 0.0), 2),
            "by": entry.actor,
            "bad_pages_seen": sum(reply.release == release_id for reply in self.probe.since(began)),
        }

    @contextmanager
    def _broken(self, release_id: str, fault: str) -> Iterator[str]:
        """The release's process, kept by the keeper as any release's is."""
        port = free_port()
        command = (sys.executable, "-m", "tests.bench.broken_release", release_id, fault, str(port))
        spec = ProcessSpec(mixer_name(release_id), command, ready_port=port, ready_timeout_s=30)
        self.supervisor.start(spec)
        try:
            self.supervisor.wait_ready(spec)
            yield f"http://127.0.0.1:{port}"
        finally:
            self.supervisor.stop(spec.name)

    # ---- the controller -------------------------------------------------------------------------------------------
    def controller_killed_on_the_way(self) -> dict[str, Any]:
        """A release from its build to live, and the controller killed at each of its moves."""
        announce("a release on its way, and the controller killed at each move")
        version, kills, seen, before = self._copy_of_champion(), 0, 0, time.monotonic()
        options = {"--min-users": "8", "--warm-up-s": "15", "--look-every-s": "2", "--step-timeout-s": f"{STEP_S:g}"}
        self.platform.mixer("run", "release", version, *(word for option in options.items() for word in option))
        release_id = self.ledger.releases()[-1].release_id
        self._allow({*self._allowed[-1][1], release_id}, before)
        deadline = time.monotonic() + 5 * WAIT_S
        while (state := self.ledger.state(release_id)) not in (ReleaseState.LIVE, *ENDED) and time.monotonic() < deadline:
            entries = len(self.ledger.entries_of(release_id))
            running = self.supervisor.find("controller")
            if entries > seen and running is not None:
                os.kill(running.pid, signal.SIGKILL)
                kills, seen = kills + 1, entries
                if state is ReleaseState.AWAITING_APPROVAL:
                    self._until(lambda: Approvals(self.url).pending_for(release_id))
                    decide(self.url, release_id, "approve", ACTOR, WHY)
            time.sleep(0.02)
        return {
            "kills": kills,
            "ended": str(self.ledger.state(release_id)),
            "by": f"{(last := self.ledger.entries_of(release_id)[-1]).actor}: {last.reason}",
            "ledger_problems": self.ledger.verify(),
            "entries": [f"{entry.state} {entry.percent or ''}".strip() for entry in self.ledger.entries_of(release_id)],
        }

    # ---- who may answer -------------------------------------------------------------------------------------------
    def _allow(self, releases: set[str], since: float | None = None) -> None:
        self._allowed.append((time.monotonic() if since is None else since, releases))

    def wrong_answers(self) -> list[Reply]:
        """Pages of releases that were neither live, nor a canary, nor standing by when they were asked for, or just before."""
        ends = [since for since, _ in self._allowed[1:]] + [math.inf]
        spans = [(since - GRACE_S, end + GRACE_S, names) for (since, names), end in zip(self._allowed, ends, strict=True)]

        def may(reply: Reply) -> bool:
            return any(since <= reply.at <= end and reply.release in names for since, end, names in spans)

        return [reply for reply in self.probe.replies if reply.status == 200 and not may(reply)]

    @staticmethod
    def _until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not holds():
            if time.monotonic() > deadline:
                raise RuntimeError(f"what is waited for did not come within {WAIT_S:.0f} s")
            time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
