"""The states of a release, and the law of their transitions. Pure: no clock, no storage."""

from __future__ import annotations

from enum import StrEnum

CANARY_STEPS = (1.0, 5.0, 25.0, 50.0)  # default ramp, percent of users


class ReleaseState(StrEnum):
    """Where a release is in its life. The set is closed."""

    BUILT = "built"
    SHADOW = "shadow"
    CANARY = "canary"
    AWAITING_APPROVAL = "awaiting_approval"
    LIVE = "live"
    RETIRED = "retired"
    ROLLED_BACK = "rolled_back"


_S = ReleaseState

ALLOWED: dict[ReleaseState, frozenset[ReleaseState]] = {
    # Approval is asked for a canary alone: without one there would be nothing to approve by.
    _S.BUILT: frozenset({_S.SHADOW, _S.CANARY, _S.LIVE, _S.ROLLED_BACK}),
    _S.SHADOW: frozenset({_S.CANARY, _S.LIVE, _S.ROLLED_BACK}),
    # canary -> canary is a step of the ramp.
    _S.CANARY: frozenset({_S.CANARY, _S.AWAITING_APPROVAL, _S.ROLLED_BACK}),
    _S.AWAITING_APPROVAL: frozenset({_S.LIVE, _S.ROLLED_BACK}),
    _S.LIVE: frozenset({_S.RETIRED, _S.ROLLED_BACK}),
    # A retired release comes back only when its successor is rolled back.
    _S.RETIRED: frozenset({_S.LIVE}),
    _S.ROLLED_BACK: frozenset(),
}

# From these a release may go live with nobody asked, and only where no release is live yet: the very first one.
UNAPPROVED = frozenset({_S.BUILT, _S.SHADOW})


class TransitionError(ValueError):
    """A transition that the law forbids; the message names both states and what to do."""


def check_transition(
    release_id: str, current: ReleaseState, target: ReleaseState, *, live: str | None, percent: float | None = None
) -> None:
    """Raise TransitionError unless `release_id` may go from `current` to `target` while `live` is the live release."""
    if target not in ALLOWED[current]:
        allowed = ", ".join(sorted(ALLOWED[current])) or "nothing: this state is final"
        raise TransitionError(f"release {release_id}: {current} -> {target} is not allowed; from {current} comes {allowed}")
    if target is _S.LIVE and current in UNAPPROVED and live is not None:
        raise TransitionError(
            f"release {release_id}: {current} -> live needs a canary and an approval, because {live} is live; "
            "only the first release may skip them"
        )
    if target is _S.CANARY:
        if live is None:
            raise TransitionError(f"release {release_id}: a canary needs a live release beside it; make a first release live")
        if percent is None or not 0 < percent < 100:
            raise TransitionError(f"release {release_id}: canary percent is {percent}; give a share of users between 0 and 100")
    elif percent is not None:
        raise TransitionError(f"release {release_id}: percent {percent} belongs to state canary only, not to {target}")
