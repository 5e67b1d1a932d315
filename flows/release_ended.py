"""Flow `release_ended`: a release went live or was rolled back; its model is crowned, and old processes stop."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.steps.rollout import Rollout
from infra.settings import get_settings
from monitoring.canary.looks import Looks
from services.releases.way_page import way_page


@flow(name="release_ended")
def release_ended_flow(release_id: str) -> dict:
    """Started by the controller's event. It may run twice: everything it does is done once."""
    rollout = Rollout(get_settings())
    rollout.finish()
    return outcome(rollout, release_id)


def record(rollout: Rollout, release_id: str) -> dict:
    """Keep the way of a release that no controller took along as a Prefect artifact; returns what became of it."""
    settings = rollout.settings
    look = Looks(settings.platform_database_url).newest(release_id)
    page = way_page(rollout.ledger.entries_of(release_id), look, settings.gateway_url)
    create_markdown_artifact(key=f"release-{release_id}", markdown=page, description=f"The way of release {release_id}")
    return outcome(rollout, release_id)


def outcome(rollout: Rollout, release_id: str) -> dict:
    """What became of the release so far."""
    entries = rollout.ledger.entries_of(release_id)
    return {
        "release": release_id,
        "state": str(entries[-1].state),
        "reason": entries[-1].reason,
        "history": [{"state": str(entry.state), "actor": entry.actor, "reason": entry.reason} for entry in entries],
    }
