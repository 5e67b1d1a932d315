"""The control room in a real browser: a canary is approved by click, and seen to go live; other decisions by click too."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import aiohttp
import pytest

from monitoring.canary.policy import JudgePolicy
from services.releases.controller import Controller
from services.releases.judging import Judging
from services.releases.plan import RolloutPlan
from services.releases.rollouts import Rollouts
from tests.integration.browser import Browser, chromium, opened
from tests.integration.gateway_rig import Rig, running_gateway
from tests.integration.small_arm import SmallArm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with chromium() as found:
        yield found


@pytest.fixture
def rig(tmp_path) -> Iterator[Rig]:
    with running_gateway(tmp_path) as running:
        yield running


@contextmanager
def controlled(rig: Rig) -> Iterator[None]:
    """A real controller over the rig's ledger, looking ten times a second."""
    url, leaving = rig.settings.platform_database_url, threading.Event()
    controller = Controller(url, "test", Judging(url, rig.settings.outcomes_url, JudgePolicy.default()))

    def look() -> None:
        while not leaving.wait(0.1):
            controller.look(time.time())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield
    leaving.set()
    thread.join()


def in_browser(address: str, steps: Callable[[Browser], Awaitable[None]]) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            await steps(await opened(address, session))

    asyncio.run(run())


async def decide(browser: Browser, rig: Rig, form: str, action: str) -> None:
    """Fill in a form as a person does, and press its button."""
    await browser.type(f"{form} input[name=actor]", "Ada")
    await browser.type(f"{form} input[name=reason]", "the intervals are clear")
    await browser.type(f"{form} input[name=token]", rig.settings.paths.admin_token())
    await browser.click(f"{form} button[value={action}]")


def test_a_canary_is_approved_by_click_and_seen_to_go_live(rig, address):
    rig.live(SmallArm("r1"))
    rig.ask_for_approval(SmallArm("r2"))

    async def steps(browser: Browser) -> None:
        await browser.open(f"{rig.client.base_url}/")
        await browser.until("document.body.innerText.includes('May r2 go live?')")
        await decide(browser, rig, ".ask form", "approve")
        await browser.until("document.body.innerText.includes('your answer (approve) is in the ledger')")
        await browser.open(f"{rig.client.base_url}/")
        while "r2 is live since" not in await browser.value("document.body.innerText"):
            await asyncio.sleep(0.1)
            await browser.open(f"{rig.client.base_url}/")

    with controlled(rig):
        in_browser(address, steps)
    last = rig.ledger.entries_of("r2")[-1]
    assert (last.state, last.actor, last.reason) == ("live", "Ada", "the intervals are clear")


def test_a_rollout_is_paused_and_aborted_by_click(rig, address):
    rig.live(SmallArm("r1"))
    rig.canary(SmallArm("r2"))
    Rollouts(rig.settings.platform_database_url).submit("r2", RolloutPlan(), "flow")

    async def steps(browser: Browser) -> None:
        for action, said in (("pause", "Paused by Ada"), ("abort", "rolled back")):
            await browser.open(f"{rig.client.base_url}/")
            await browser.click("#canary-title ~ *, section[aria-labelledby=canary-title] details > summary")
            await browser.value(
                "document.querySelectorAll('section[aria-labelledby=canary-title] details').forEach(one => one.open = true)"
            )
            await decide(browser, rig, "section[aria-labelledby=canary-title] details form", action)
            await browser.until(f"document.body.innerText.includes('your answer ({action}) is in the ledger')")
            await browser.until(f"document.body.innerText.includes({said!r})")

    in_browser(address, steps)
    assert rig.ledger.state("r2") == "rolled_back"
