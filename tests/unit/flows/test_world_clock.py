"""World time: as fast as asked, and never ahead of the present or far ahead of what was served."""

from __future__ import annotations

import asyncio

import pytest

from feature_repo.datasets.world.day_curve import HOUR_US
from flows.demo.traffic.world_clock import AWAY, BEHIND_PRESENT_US, LONGEST_STEP_S, PLATFORM, PRESENT, WorldClock

LATER = 10**15


class HandClock:
    """Real time that only a test moves."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def real() -> HandClock:
    return HandClock()


def clock_of(real: HandClock, speed: float = 60.0, present: int = LATER) -> WorldClock:
    return WorldClock(0, speed, real, lambda: present)


def test_it_runs_at_the_asked_multiple_of_real_time(real):
    clock = clock_of(real)
    for _ in range(100):
        real.s += 0.1
        clock.tick(None)
    assert clock.now_us == pytest.approx(600e6, abs=100)
    assert (clock.speed_held(), clock.held_by) == (pytest.approx(60), None)


def test_a_slow_platform_slows_the_people_and_that_is_said(real):
    clock = clock_of(real, speed=100_000.0)
    for _ in range(20):
        real.s += 0.1
        clock.tick(5_000_000)
    assert (clock.now_us, clock.held_by) == (5_000_000 + HOUR_US, PLATFORM)
    real.s += 0.1
    clock.tick(None)
    assert clock.held_by is None and clock.now_us > 5_000_000 + HOUR_US
    assert clock.speed_held() < 100_000


def test_it_never_reaches_the_present(real):
    clock = clock_of(real, speed=1e6, present=10 * HOUR_US)
    for _ in range(100):
        real.s += 0.5
        clock.tick(None)
    assert (clock.now_us, clock.held_by) == (10 * HOUR_US - BEHIND_PRESENT_US, PRESENT)


def test_it_rests_while_the_gateway_is_away_and_never_goes_back(real):
    clock = clock_of(real)
    real.s += 1
    clock.tick(None)
    before = clock.now_us
    real.s += 1
    clock.tick(None, away=True)
    assert (clock.now_us, clock.held_by) == (before, AWAY)
    real.s += 1
    clock.tick(-2 * HOUR_US)  # a page wanted longer ago than world time may be ahead
    assert clock.now_us == before


def test_a_process_that_slept_does_not_catch_up(real):
    clock = clock_of(real)
    real.s += 3_600
    clock.tick(None)
    assert clock.now_us == LONGEST_STEP_S * 60 * 1e6


def test_who_waits_for_a_moment_goes_on_when_it_comes_or_when_all_hurry(real):
    async def scene() -> list[str]:
        clock, order = clock_of(real, speed=1e6), []

        async def wait(name: str, moment_us: int) -> None:
            await clock.until(moment_us)
            order.append(name)

        tasks = [asyncio.create_task(wait("later", LATER)), asyncio.create_task(wait("soon", 50_000_000_000))]
        await asyncio.sleep(0.01)
        assert order == []
        real.s += 0.1
        clock.tick(None)
        await tasks[1]
        assert order == ["soon"]
        clock.hurry()
        await tasks[0]
        return order

    assert asyncio.run(scene()) == ["soon", "later"]
