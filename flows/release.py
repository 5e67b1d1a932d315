"""Flow `release`: a registered model version through build, readiness, canary, judgement and approval."""

from __future__ import annotations

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from feature_repo.chosen_heads import deciding_heads
from flows.progress import announce
from flows.retries import FLAKY_EDGE
from flows.rollout import ENDED, Rollout, RolloutPolicy
from infra.settings import get_settings
from services.releases.states import ReleaseState


@task(name="build bento", **FLAKY_EDGE)
def build(model: str, note: str, policy: RolloutPolicy) -> str:
    return Rollout(get_settings(), policy).build(model, note)


@task(name="start arm", **FLAKY_EDGE)
def start(release_id: str, policy: RolloutPolicy) -> dict:
    announce(f"starting release {release_id}")
    return Rollout(get_settings(), policy).start(release_id)


@flow(name="release")
def release_flow(
    model: str = "challenger",
    note: str = "",
    ramp: list[int] | None = None,
    step_timeout_s: float = 6 * 3600.0,
    min_users: int | None = None,
) -> dict:
    """Take registry model `model` (alias or version) all the way; returns the release's end state and why.

    ramp: per cent of users at each canary step (default 1, 5, 25, 50).
    step_timeout_s: seconds after which a canary step without a verdict is given up as inconclusive.
    min_users: users per arm before the judge may promote (default: the judge's own).
    """
    deciding = deciding_heads(get_settings())
    policy = RolloutPolicy.of(ramp=ramp, step_timeout_s=step_timeout_s, min_users=min_users, deciding=deciding)
    rollout = Rollout(get_settings(), policy)
    release_id = build(model, note, policy)
    try:
        checks = start(release_id, policy)
    except Exception as error:
        # A release that serves already stays: that its process fails a check is the keeper's business, not the ledger's.
        if rollout.ledger.state(release_id) not in (ReleaseState.LIVE, *ENDED):
            rollout.roll_back(release_id, f"it did not become ready: {error}", None, actor="flow:release")
        raise
    if rollout.ledger.route().live in (None, release_id):
        rollout.go_live_first(release_id, checks)
    elif rollout.ledger.state(release_id) != ReleaseState.LIVE:
        rollout.through_canary(release_id)
    rollout.crown(release_id)
    rollout.arms.retire_old()
    return _record(rollout, release_id, checks)


def _record(rollout: Rollout, release_id: str, checks: dict) -> dict:
    entries = [entry for entry in rollout.ledger.entries() if entry.release_id == release_id]
    lines = [f"| {entry.at[11:19]} | {entry.state} | {entry.actor} | {entry.reason} |" for entry in entries]
    table = "\n".join(["| at | state | who | why |", "|---|---|---|---|", *lines])
    page = f"# Release {release_id}\n\n{table}\n\n[Control room]({get_settings().gateway_url}/)"
    create_markdown_artifact(key=f"release-{release_id}", markdown=page, description=f"The way of release {release_id}")
    return {
        "release": release_id,
        "state": str(rollout.ledger.state(release_id)),
        "reason": entries[-1].reason,
        "readiness": checks,
        "history": [{"state": str(entry.state), "actor": entry.actor, "reason": entry.reason} for entry in entries],
    }
