"""Flow `release`: a registered model version is built, started, checked and submitted; the controller takes it from there.

The run stays open until the release has ended, with no process and no worker slot; the controller ends it. Whoever cancels it
takes the release out of traffic.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.exceptions import Abort, Pause
from prefect.runtime import flow_run

from flows.release_ended import outcome, record
from flows.steps.open_run import stay_open
from flows.steps.progress import announce
from flows.steps.retries import FLAKY_EDGE
from flows.steps.rollout import ENDED, Rollout
from infra.settings import get_settings
from services.releases.decisions import ON_ITS_WAY
from services.releases.states import ReleaseState


@task(name="build bento", **FLAKY_EDGE)
def build(model: str, note: str) -> str:
    return Rollout(get_settings()).build(model, note)


@task(name="start arm", **FLAKY_EDGE)
def start(release_id: str) -> dict:
    announce(f"starting release {release_id}")
    return Rollout(get_settings()).start(release_id)


@flow(name="release")
def release_flow(
    model: str = "challenger",
    note: str = "",
    ramp: list[float] | None = None,
    step_timeout_s: float = 24 * 3600.0,
    min_users: int | None = None,
    warm_up_s: float | None = None,
    look_every_s: float = 60.0,
    wait_s: float | None = None,
    asked_by: str = "",
) -> dict:
    """Build and start registry model `model` (alias or version), then submit it; the very first release goes live at once.

    ramp: per cent of users at each canary step (default 1, 5, 25, 50).
    step_timeout_s: seconds after which a canary step without a verdict is given up as inconclusive.
    min_users, warm_up_s: users per arm, and the first seconds of a step, before the judge may step up (default: its policy's).
    look_every_s: seconds between two looks of the judge.
    wait_s: seconds of a step in which the judge waits to become surer, where traffic allows it (default: all of the step).
    asked_by: who asked for the release; with MIXER_FOUR_EYES somebody else has to approve it.
    """
    rollout, run_id = Rollout(get_settings()), flow_run.id
    known = rollout.runs.release_of(run_id) if run_id else None
    if known is not None and rollout.rollouts.submitted(known):  # the run was resumed, or tried again
        return _await_end(rollout, known)
    plan = rollout.plan(
        ramp=tuple(ramp or ()),
        step_timeout_s=step_timeout_s,
        min_users=min_users,
        warm_up_s=warm_up_s,
        look_every_s=look_every_s,
        wait_s=wait_s,
    )
    release_id = build(model, note)
    if run_id and (other := rollout.enter(release_id, run_id)) != run_id:
        announce(f"release {release_id} is on its way already, with flow run {other}: that one is to be cancelled")
        return outcome(rollout, release_id)
    serves = rollout.ledger.route().live == release_id
    checks = _started(rollout, release_id)
    if serves:
        said = f"{model} is live already, as {release_id}: no release was made. `mixer run retrain` makes a challenger."
        announce(said)
        rollout.finish()
        return {"nothing_done": said, **record(rollout, release_id), "readiness": checks}
    if rollout.ledger.route().live in (None, release_id):
        rollout.go_live_first(release_id, checks)
        rollout.finish()
        return {**record(rollout, release_id), "readiness": checks}
    rollout.submit(release_id, plan, asked_by)
    return {**_await_end(rollout, release_id), "readiness": checks}


def _started(rollout: Rollout, release_id: str) -> dict:
    """What the readiness checks saw; a release that does not become ready is rolled back."""
    try:
        return start(release_id)
    except Exception as error:
        # A release that serves already stays: that its process fails a check is the keeper's business, not the ledger's.
        if rollout.ledger.state(release_id) not in (ReleaseState.LIVE, *ENDED):
            rollout.roll_back(release_id, f"it did not become ready: {error}")
            rollout.arms.stop(release_id)
        raise


def _await_end(rollout: Rollout, release_id: str) -> dict:
    """What became of a submitted release; of one that is under way, the run stays open instead, and its process ends."""
    if rollout.ledger.state(release_id) in ON_ITS_WAY:
        stay_open(rollout.waits_for(release_id))
    return outcome(rollout, release_id)


def release_here(**parameters: Any) -> dict:
    """Run the flow in this process, and return what became of the release so far; the run stays open as a worker's does."""
    try:
        return release_flow(**parameters)
    except Pause as left:
        rollout = Rollout(get_settings())
        return outcome(rollout, rollout.runs.release_of(str(left.state.state_details.flow_run_id)))
    except Abort as error:  # no Exception: nobody would catch it
        raise RuntimeError(f"the release does not go on: {error}") from error
