"""A real gateway on a free port in front of small real arms, over a platform folder of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from infra.settings import Settings
from services.gateway.app import create_app
from services.releases.approvals import Approvals
from services.releases.ledger import Ledger
from services.releases.split import in_canary
from tests.integration.small_arm import SmallArm, served
from tests.unit.releases.made_releases import manifest

CANARY_PERCENT = 50


@dataclass
class Rig:
    """The parts of a running gateway that a test speaks to."""

    settings: Settings
    ledger: Ledger
    approvals: Approvals
    client: httpx.Client
    stack: ExitStack

    def release(self, arm: SmallArm) -> SmallArm:
        """Create the arm's release, serve it, register it."""
        self.ledger.create(manifest(arm.release), "builder")
        self.ledger.register_arm(arm.release, self.stack.enter_context(served(arm.app())))
        return arm

    def live(self, arm: SmallArm) -> SmallArm:
        self.release(arm)
        self.ledger.transition(arm.release, "live", "flow", "first release")
        self.until(lambda: self.client.get("/healthz").json()["live"] == arm.release)
        return arm

    def canary(self, arm: SmallArm) -> SmallArm:
        self.release(arm)
        self.ledger.transition(arm.release, "canary", "flow", "try it", percent=CANARY_PERCENT)
        self.until(lambda: self.client.get("/healthz").json()["canary"] == arm.release)
        return arm

    def ask_for_approval(self, arm: SmallArm) -> None:
        self.canary(arm)
        self.ledger.transition(arm.release, "awaiting_approval", "flow", "judge says promote")
        self.approvals.request(arm.release, "may it serve everybody?")

    def admin(self, path: str, body: object = None, token: str | None = "right") -> httpx.Response:
        """POST to an admin path with the right token, another, or none."""
        value = self.settings.paths.admin_token() if token == "right" else token
        headers = {} if value is None else {"authorization": f"Bearer {value}"}
        return self.client.post(path, json=body, headers=headers)

    @staticmethod
    def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait for `holds`; a deadline only ends a test that would hang, it is no claim about speed."""
        pause, end = threading.Event(), time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise AssertionError("what the test waits for did not come")
            pause.wait(0.02)


def user_in(canary: bool, release: str, percent: float = CANARY_PERCENT) -> int:
    """The first user id that the rollout of `release` sends to its canary, or keeps on the live release."""
    return next(user for user in range(10_000) if in_canary(user, release, percent) is canary)


@contextmanager
def running_gateway(home: Path) -> Iterator[Rig]:
    """A gateway over `home`."""
    settings = Settings(home=home)
    with ExitStack() as stack:
        url = stack.enter_context(served(create_app(settings)))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=30))
        database = settings.platform_database_url
        yield Rig(settings, Ledger(database), Approvals(database), client, stack)
