"""Flow `reconcile`: processes and registered arms brought back to what the ledger says, after a crash or a restart."""

from __future__ import annotations

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from flows.arms import Arms
from flows.retries import FLAKY_EDGE
from flows.rollout import Rollout
from infra.settings import get_settings
from services.gateway.ledger import Ledger
from services.gateway.states import ReleaseState

SERVING = (ReleaseState.LIVE, ReleaseState.CANARY, ReleaseState.AWAITING_APPROVAL, ReleaseState.SHADOW)


@task(name="restart arms", **FLAKY_EDGE)
def restart_arms() -> list[dict[str, str]]:
    """Start the mixers that the route needs and that are gone; stop those that no longer serve."""
    settings = get_settings()
    ledger = Ledger(settings.platform_database_url)
    arms = Arms(settings, ledger)
    found = []
    for release in ledger.releases():
        if release.state in SERVING:
            found.append({"release": release.release_id, "state": str(release.state), "arm": arms.start(release.release_id)})
    for release_id in arms.retire_old():
        found.append({"release": release_id, "state": str(ledger.state(release_id)), "arm": "stopped"})
    return found


@flow(name="reconcile")
def reconcile_flow() -> list[dict[str, str]]:
    """Make the running mixers and the registry's champion agree with the ledger, and check the ledger's chain."""
    problems = Ledger(get_settings().platform_database_url).verify()
    if problems:
        raise RuntimeError("the release ledger does not verify: " + "; ".join(problems))
    arms = restart_arms()
    rollout = Rollout(get_settings())
    live = rollout.ledger.route().live
    if live is not None:
        rollout.crown(live)
    create_table_artifact(key="arms", table=arms, description="Releases and their processes")
    return arms
