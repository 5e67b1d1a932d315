"""Flow `rollback`: the live release goes, its predecessor comes back; one transaction, no process start."""

from __future__ import annotations

from prefect import flow, get_run_logger

from infra.settings import get_settings
from services.gateway.ledger import Ledger
from services.gateway.states import ReleaseState


@flow(name="rollback")
def rollback_flow(reason: str = "asked for", actor: str = "flow:rollback") -> dict[str, str | None]:
    """Roll the live release back; fails where it has no predecessor to return to."""
    ledger = Ledger(get_settings().platform_database_url)
    live = ledger.route().live
    if live is None:
        raise RuntimeError("nothing is live, so there is nothing to roll back")
    if not any(release.state is ReleaseState.RETIRED and release.arm_url for release in ledger.releases()):
        raise RuntimeError(
            f"release {live} has no predecessor with a running process; "
            "start one with `mixer run reconcile`, or release another"
        )
    ledger.transition(live, ReleaseState.ROLLED_BACK, actor, reason)
    get_run_logger().info("release %s rolled back, %s is live", live, ledger.route().live)
    return {"rolled_back": live, "live": ledger.route().live}
