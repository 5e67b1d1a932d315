"""The law of a release's states."""

from __future__ import annotations

import itertools

import pytest

from services.releases.states import ALLOWED, ReleaseState, TransitionError, check_transition

S = ReleaseState
LAW = {
    S.BUILT: {S.SHADOW, S.CANARY, S.LIVE, S.ROLLED_BACK},
    S.SHADOW: {S.CANARY, S.LIVE, S.ROLLED_BACK},
    S.CANARY: {S.CANARY, S.AWAITING_APPROVAL, S.ROLLED_BACK},
    S.AWAITING_APPROVAL: {S.LIVE, S.ROLLED_BACK},
    S.LIVE: {S.RETIRED, S.ROLLED_BACK},
    S.RETIRED: {S.LIVE},
    S.ROLLED_BACK: set(),
}


@pytest.mark.parametrize(("current", "target"), list(itertools.product(S, S)))
def test_a_release_moves_only_as_the_law_allows(current, target):
    percent = 5 if target is S.CANARY else None
    # A canary needs a live release beside it; an unapproved release goes live only where there is none.
    live = None if current in (S.BUILT, S.SHADOW) and target is S.LIVE else "r0"
    if target in LAW[current]:
        check_transition("r1", current, target, live=live, percent=percent)
    else:
        with pytest.raises(TransitionError, match=f"r1: {current} -> {target}"):
            check_transition("r1", current, target, live=live, percent=percent)


def test_every_serving_state_can_be_rolled_back():
    assert all(S.ROLLED_BACK in ALLOWED[state] for state in S if state not in (S.RETIRED, S.ROLLED_BACK))


@pytest.mark.parametrize("current", [S.BUILT, S.SHADOW])
def test_only_the_first_release_goes_live_unasked(current):
    check_transition("r1", current, S.LIVE, live=None)
    with pytest.raises(TransitionError, match="needs a canary and an approval"):
        check_transition("r2", current, S.LIVE, live="r1")


@pytest.mark.parametrize("percent", [None, 0, -1, 100, 250])
def test_a_canary_serves_a_part_of_the_users(percent):
    with pytest.raises(TransitionError, match="percent"):
        check_transition("r2", S.BUILT, S.CANARY, live="r1", percent=percent)


def test_a_canary_needs_a_live_release_to_compare_with():
    with pytest.raises(TransitionError, match="live release beside it"):
        check_transition("r1", S.BUILT, S.CANARY, live=None, percent=5)
