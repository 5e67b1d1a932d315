"""The circuit breaker's states, on a clock of the test's own."""

from __future__ import annotations

from services.mixer.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(failures_to_open=2, cool_down_s=5, clock=clock)
    breaker.failed()
    breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row_only():
    breaker = Breaker(failures_to_open=2, cool_down_s=5, clock=Clock())
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()


def test_after_the_cool_down_one_call_goes_through():
    clock = Clock()
    breaker = opened(clock)
    clock.now += 4.9
    assert not breaker.allows()
    clock.now += 0.2
    assert [breaker.allows(), breaker.allows()] == [True, False]


def test_a_good_probe_closes_it_and_a_bad_one_keeps_it_open():
    clock = Clock()
    breaker = opened(clock)
    clock.now += 6
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    clock.now += 6
    assert breaker.allows()
    breaker.succeeded()
    assert [breaker.allows(), breaker.allows()] == [True, True]
