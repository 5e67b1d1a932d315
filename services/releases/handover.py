"""Who takes over when the live release is rolled back: a release whose process says, now, that it is that release."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from services.releases.ledger import Ledger, ReleaseSummary
from services.releases.states import ReleaseState, TransitionError

RELEASE_HEADER = "x-mixer-release"  # with which every answer of an arm says whose it is
TIMEOUT_S = 2.0


def not_itself(said: str | None) -> str:
    """What is wrong with an answer that names another release, or none."""
    return "the process at its address does not say which release it is" if said is None else f"its address answers as {said}"


def why_not(url: str, release_id: str) -> str | None:
    """Why the process at `url` can't serve as `release_id`; None where it can."""
    try:
        answer = httpx.get(f"{url}/ready", timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        return f"it does not answer: {type(error).__name__} {error}".strip()
    if (said := answer.headers.get(RELEASE_HEADER)) not in (release_id, None):
        return not_itself(said)
    if answer.status_code != 200:
        return f"its /ready answered {answer.status_code}"
    return None if said else not_itself(None)


def check_heir(ledger: Ledger, release_id: str) -> None:
    """Raise TransitionError where a rollback of `release_id` would leave everybody to a process that is not the right one.

    Asks the standby's process; a release that is not live has no heir, and passes.
    """
    if ledger.route().live != release_id:
        return
    standby = ledger.standby()
    if standby is None:
        return  # the ledger refuses it, and says what to do
    problem = why_not(ledger.arms()[standby], standby)
    if problem is not None:
        raise TransitionError(
            f"release {release_id} stays live: {standby} would take over, but {problem}; "
            f"`mixer run reconcile` starts it, then roll back again"
        )


def why_no_return(live: str, standby: str | None, releases: Sequence[ReleaseSummary], problem: str | None) -> str | None:
    """Why the live release can't be rolled back now, in one sentence; None where the standby can take over.

    problem: what is wrong with the standby's process; None where it answers.
    """
    if standby is not None:
        wrong = f"{live} can't be rolled back now: {standby} would take over, and it does not answer ({problem})"
        return None if problem is None else f"{wrong}; `mixer run reconcile` starts it."
    retired = [one for one in releases if one.state is ReleaseState.RETIRED]
    if not retired:
        return (
            f"{live} can't be rolled back: no other release was live before it; "
            "`mixer run release` brings another model, which then takes its place."
        )
    newest = max(retired, key=lambda one: one.entry.seq).release_id
    return (
        f"{live} can't be rolled back now: {newest} was live before it, and its process does not run; "
        "`mixer run reconcile` starts it."
    )
