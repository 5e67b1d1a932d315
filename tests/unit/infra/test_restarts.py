"""When a dead process is started again: at once, then ever later, and at once again after a steady time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infra.restarts import LONGEST_WAIT_S, LOOP_DEATHS, STEADY_S, Restarts


def test_the_first_death_costs_nothing_and_each_further_one_waits_twice_as_long():
    restarts, waits, now = Restarts(), [], 100.0
    for _ in range(8):
        restarts.started(now)
        now += 0.5
        waits.append(restarts.died(now))
        now = max(now, restarts.next_at)
    assert waits == [0, 1, 2, 4, 8, 16, LONGEST_WAIT_S, LONGEST_WAIT_S]


def test_four_early_deaths_are_a_loop_and_a_steady_life_ends_it():
    restarts = Restarts()
    for death in range(LOOP_DEATHS):
        assert not restarts.loops()
        restarts.started(100.0 + death)
        restarts.died(100.5 + death)
    assert restarts.loops()
    restarts.started(200.0)
    assert not restarts.steady(200.0 + STEADY_S - 1) and restarts.loops()
    assert restarts.steady(200.0 + STEADY_S) and not restarts.loops()
    assert not restarts.steady(300.0 + STEADY_S)  # told once


@given(st.lists(st.floats(0.0, 1_000.0), min_size=1, max_size=30))
def test_whatever_the_lives_no_start_waits_longer_than_the_longest_and_a_long_life_is_followed_by_none(lives):
    restarts, now = Restarts(), 1.0
    for life in lives:
        restarts.started(now)
        wait = restarts.died(now + life)
        assert 0 <= wait <= LONGEST_WAIT_S
        assert restarts.next_at == now + life + wait
        if life >= STEADY_S:
            assert wait == 0
        now = restarts.next_at


def test_starts_that_fail_after_a_long_life_wait_ever_longer_too():
    restarts, now, waits = Restarts(), 300.0, []
    restarts.started(100.0)
    for _ in range(6):
        waits.append(restarts.died(now))
        now = restarts.next_at
    assert waits == [0, 1, 2, 4, 8, 16]
    assert restarts.loops()
