"""Flow `reconcile`: processes and registered arms brought back to what the ledger says, after a crash or a restart."""

from __future__ import annotations

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact

from flows.retries import FLAKY_EDGE
from flows.rollout import Rollout
from infra.process_spec import ProcessFailed
from infra.settings import get_settings
from services.releases.ledger import Ledger
from services.releases.processes import Arms
from services.releases.published_heads import PublishedHeads
from services.releases.states import ReleaseState

SERVING = (ReleaseState.LIVE, ReleaseState.CANARY, ReleaseState.AWAITING_APPROVAL, ReleaseState.SHADOW)


@task(name="restart arms", **FLAKY_EDGE)
def restart_arms() -> list[dict[str, str]]:
    """Start the mixers that the route needs and that are gone, then the standby; stop those that no longer serve."""
    settings = get_settings()
    ledger = Ledger(settings.platform_database_url)
    arms = Arms(settings, ledger)
    found = []
    for release in ledger.releases():
        if release.state in SERVING:
            found.append({"release": release.release_id, "state": str(release.state), "arm": arms.start(release.release_id)})
    for release_id in arms.retire_old():
        found.append({"release": release_id, "state": str(ledger.state(release_id)), "arm": "stopped"})
    if (standby := arms.standby()) is not None:
        found.append({"release": standby, "state": "standby", "arm": start_standby(arms, standby)})
    return found


def start_standby(arms: Arms, release_id: str) -> str:
    """The standby's address; where it can't start, why. A platform serves without one, and a rollback is not offered then."""
    try:
        return arms.start(release_id)
    except ProcessFailed as error:
        arms.stop(release_id)
        get_run_logger().error("the standby %s can't start: %s", release_id, error)
        return "can't start"


@flow(name="reconcile")
def reconcile_flow() -> list[dict[str, str]]:
    """Make the running mixers and the registry's champion agree with the ledger, and check the ledger's chain."""
    problems = Ledger(get_settings().platform_database_url).verify(PublishedHeads(get_settings().paths.releases))
    if problems:
        raise RuntimeError("the release ledger does not verify: " + "; ".join(problems))
    arms = restart_arms()
    rollout = Rollout(get_settings())
    live = rollout.ledger.route().live
    if live is not None:
        rollout.crown(live)
    create_table_artifact(key="arms", table=arms, description="Releases and their processes")
    return arms
