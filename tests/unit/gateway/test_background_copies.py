"""Copies run in the background: so many at once, and a failed one ends alone."""

from __future__ import annotations

import asyncio

import pytest

from services.gateway.background_copies import BackgroundCopies
from services.gateway.metrics import GatewayMetrics
from services.gateway.shadow import Shadow
from services.releases.route import Route
from tests.unit.gateway.copied import one_arm


async def broken() -> None:
    raise RuntimeError("an answer nobody foresaw")


async def wait_for(event: asyncio.Event, done: list[str]) -> None:
    await event.wait()
    done.append("copy")


def test_a_failed_copy_does_not_keep_the_gateway_from_closing_the_others():
    async def shut_down() -> list[str]:
        copies, event, done = BackgroundCopies(at_once=2), asyncio.Event(), []
        copies.start(wait_for(event, done))
        copies.start(broken())
        event.set()
        await copies.close()
        return done

    assert asyncio.run(shut_down()) == ["copy"]


def test_a_copy_beyond_the_bound_is_skipped_until_another_has_ended():
    async def started() -> list[bool]:
        copies, event, done = BackgroundCopies(at_once=1), asyncio.Event(), []
        begun = [copies.start(wait_for(event, done)) for _ in range(2)]
        event.set()
        await copies.close()
        begun.append(copies.start(wait_for(event, done)))
        await copies.close()
        return begun

    assert asyncio.run(started()) == [True, False, True]


@pytest.mark.parametrize("answer", [b"{}", b"[]", b'{"posts": [{}]}', b"not JSON"])
def test_a_shadow_whose_answer_is_no_page_counts_as_failed(answer):
    shadow = Shadow(GatewayMetrics())

    async def copied() -> None:
        shadow.copy(one_arm(Route(live="r1", shadow="r2"), answer), "/for_you", b"{}", {}, b'{"posts": [{"post_id": 1}]}')
        await shadow.close()

    asyncio.run(copied())
    assert (shadow.failures, list(shadow.overlaps)) == (1, [])
