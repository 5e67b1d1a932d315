"""Flow `release`: a registered model version is built, started, checked and submitted; the controller takes it from there."""

from __future__ import annotations

from prefect import flow, task

from flows.progress import announce
from flows.release_ended import record
from flows.retries import FLAKY_EDGE
from flows.rollout import ENDED, Rollout
from infra.settings import get_settings
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
    rollout = Rollout(get_settings())
    plan = rollout.plan(
        ramp=tuple(ramp or ()),
        step_timeout_s=step_timeout_s,
        min_users=min_users,
        warm_up_s=warm_up_s,
        look_every_s=look_every_s,
        wait_s=wait_s,
    )
    release_id = build(model, note)
    try:
        checks = start(release_id)
    except Exception as error:
        # A release that serves already stays: that its process fails a check is the keeper's business, not the ledger's.
        if rollout.ledger.state(release_id) not in (ReleaseState.LIVE, *ENDED):
            rollout.roll_back(release_id, f"it did not become ready: {error}")
            rollout.arms.stop(release_id)
        raise
    if rollout.ledger.route().live in (None, release_id):
        rollout.go_live_first(release_id, checks)
        rollout.finish()
    else:
        rollout.submit(release_id, plan, asked_by)
    return {**record(rollout, release_id), "readiness": checks}
