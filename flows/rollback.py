"""Flow `rollback`: the live release goes, its predecessor, which stands by, comes back in one transaction."""

from __future__ import annotations

from prefect import flow, get_run_logger

from infra.settings import get_settings
from services.releases.handover import check_heir
from services.releases.ledger import Ledger
from services.releases.processes import Arms
from services.releases.states import ReleaseState


@flow(name="rollback")
def rollback_flow(reason: str = "asked for", actor: str = "flow:rollback") -> dict[str, str | None]:
    """Roll the live release back; fails where it has no predecessor to return to."""
    ledger = Ledger(get_settings().platform_database_url)
    live = ledger.route().live
    if live is None:
        raise RuntimeError("nothing is live, so there is nothing to roll back")
    arms = Arms(get_settings(), ledger)
    if not arms.retired():
        raise RuntimeError(f"release {live} has no predecessor to return to; release another model")
    arms.start_standby()  # it is kept running; where it is gone, a slower rollback is better than none
    check_heir(ledger, live)
    ledger.transition(live, ReleaseState.ROLLED_BACK, actor, reason)
    get_run_logger().info("release %s rolled back, %s is live", live, ledger.route().live)
    return {"rolled_back": live, "live": ledger.route().live}
