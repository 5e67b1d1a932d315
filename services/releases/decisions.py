"""What a person may do to a release, in one place for the API, the pages and the command line."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from services.releases.approvals import Approvals, NothingPending, named
from services.releases.chain import LedgerEntry
from services.releases.handover import check_heir
from services.releases.ledger import Ledger
from services.releases.rollouts import Rollouts
from services.releases.states import ReleaseState, TransitionError

ACTIONS = ("approve", "reject", "rollback", "abort", "promote", "pause", "resume")
ON_ITS_WAY = (ReleaseState.BUILT, ReleaseState.SHADOW, ReleaseState.CANARY, ReleaseState.AWAITING_APPROVAL)


def decide(url: str, release_id: str, action: str, actor: str, reason: str, *, four_eyes: bool = False) -> dict[str, Any]:
    """Carry out `action` on the release in the database at `url`; returns what became of it.

    approve: records the yes, by which the controller makes the release live. reject, abort and rollback take the release off
    all traffic in the transaction that records them. promote: one step up without the judge. pause and resume: of the rollout.
    four_eyes: whether whoever asked for the release, or moved it up without the judge, is refused its approval.
    Raises UnknownRelease, ApprovalError (no name, no reason), TransitionError or NotSubmitted where it can't be done.
    """
    actor, reason = named(actor, reason)
    ledger = Ledger(url)
    state = ledger.state(release_id)
    done: dict[str, Any] = {}
    if action == "approve":
        if four_eyes:
            _refuse_own(url, ledger, release_id, actor)
        done["approval"] = asdict(Approvals(url).approve(release_id, actor, reason))
    elif action in ("pause", "resume"):
        if state not in ON_ITS_WAY:
            raise TransitionError(f"release {release_id} is {state}; only a rollout that is under way can be {action}d")
        row = getattr(Rollouts(url), action)(release_id, actor, reason)
        done["paused"] = row.paused
    elif action == "promote":
        from services.releases.controller import Controller  # with the judge and scipy: half a second of the door's start

        done["said"] = Controller(url, actor).promote(release_id, actor, reason)
    elif action in ("reject", "abort", "rollback"):
        done["entry"] = asdict(_take_out(ledger, Approvals(url), release_id, state, action, actor, reason))
    else:
        raise ValueError(f"no action {action[:40]!r}; use one of {', '.join(ACTIONS)}")
    return {"release_id": release_id, "state": ledger.state(release_id), **done}


def asked_by(url: str, release_id: str) -> str | None:
    """Who asked for the release; None where nobody submitted it."""
    row = Rollouts(url).find(release_id)
    return None if row is None else row.submitted_by


def _refuse_own(url: str, ledger: Ledger, release_id: str, actor: str) -> None:
    """Raise TransitionError where the actor had a hand in what is to be approved; names are compared as people read them."""
    asker, moved = asked_by(url, release_id), "may not approve it too: somebody else has to"
    if asker is not None and actor.casefold() == asker.casefold():
        raise TransitionError(f"{actor} asked for {release_id}, and {moved}")
    steps = (ReleaseState.CANARY, ReleaseState.AWAITING_APPROVAL)
    if actor.casefold() in {entry.actor.casefold() for entry in ledger.entries_of(release_id) if entry.state in steps}:
        raise TransitionError(f"{actor} moved {release_id} up without the judge, and {moved}")


def _take_out(
    ledger: Ledger, approvals: Approvals, release_id: str, state: ReleaseState, action: str, actor: str, reason: str
) -> LedgerEntry:
    if action == "reject" and not approvals.pending_for(release_id):
        raise NothingPending(f"release {release_id!r} has no approval that waits for an answer")
    if action == "abort" and state not in ON_ITS_WAY:
        raise TransitionError(
            f"release {release_id} is {state}; abort ends a rollout under way, rollback takes back a live one"
        )
    check_heir(ledger, release_id)
    return ledger.transition(release_id, ReleaseState.ROLLED_BACK, actor, reason, {"decided_by": "a person"})
