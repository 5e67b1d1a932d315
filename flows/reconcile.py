"""Flow `reconcile`: processes and registered arms brought back to what the ledger says, after a crash or a restart."""

from __future__ import annotations

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from flows.steps.retries import FLAKY_EDGE
from flows.steps.rollout import Rollout
from infra.process_spec import ProcessFailed
from infra.settings import get_settings
from services.releases.ledger import Ledger
from services.releases.processes import Arms
from services.releases.published_heads import PublishedHeads
from services.releases.rollouts import Rollouts
from services.releases.states import ReleaseState

SERVING = (ReleaseState.LIVE, ReleaseState.CANARY, ReleaseState.AWAITING_APPROVAL, ReleaseState.SHADOW)


@task(name="restart arms", **FLAKY_EDGE)
def restart_arms() -> list[dict[str, str]]:
    """Start the mixers that the route and the queue need and that are gone, and the standby; stop those that no longer serve.

    Whichever of them can't start, the others are started; raises ProcessFailed at the end where one was needed.
    """
    settings = get_settings()
    ledger = Ledger(settings.platform_database_url)
    arms = Arms(settings, ledger)
    queued = {row.release_id for row in Rollouts(settings.platform_database_url).all()}
    found, failed = [], []
    for release in ledger.releases():
        waits = release.state is ReleaseState.BUILT and release.release_id in queued
        if release.state not in SERVING and not waits:
            continue
        try:
            address = arms.start(release.release_id, keep=True)
        except ProcessFailed as error:
            failed.append(f"{release.release_id} ({release.state}): {error}")
            address = "can't start"
        found.append({"release": release.release_id, "state": str(release.state), "arm": address})
    found += [{"release": release, "state": "standby", "arm": address} for release, address in arms.start_standby()]
    for release_id in arms.retire_old():
        found.append({"release": release_id, "state": str(ledger.state(release_id)), "arm": "stopped"})
    if failed:
        raise ProcessFailed("; ".join(failed))
    return found


@flow(name="reconcile")
def reconcile_flow() -> list[dict[str, str]]:
    """Make the running mixers and the registry's champion agree with the ledger, and check the ledger's chain."""
    arms = restart_arms()
    rollout = Rollout(get_settings())
    live = rollout.ledger.route().live
    if live is not None:
        rollout.crown(live)
    # Last: a ledger that is not what was published needs a person, and people need the releases meanwhile.
    problems = rollout.ledger.verify(PublishedHeads(get_settings().paths.releases))
    create_table_artifact(key="arms", table=arms, description="Releases and their processes")
    if problems:
        raise RuntimeError("the release ledger does not verify: " + "; ".join(problems))
    return arms
