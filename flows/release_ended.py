"""Flow `release_ended`: a release went live or was rolled back; its model is crowned, old processes stop, its way is kept."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.rollout import Rollout
from infra.settings import get_settings


@flow(name="release_ended")
def release_ended_flow(release_id: str) -> dict:
    """Started by the controller's event. It may run twice: everything it does is done once."""
    rollout = Rollout(get_settings())
    rollout.finish()
    return record(rollout, release_id)


def record(rollout: Rollout, release_id: str) -> dict:
    """Keep the release's way so far as a Prefect artifact; returns it."""
    entries = rollout.ledger.entries_of(release_id)
    lines = [f"| {entry.at[11:19]} | {entry.state} | {entry.actor} | {entry.reason} |" for entry in entries]
    table = "\n".join(["| at | state | who | why |", "|---|---|---|---|", *lines])
    page = f"# Release {release_id}\n\n{table}\n\n[Control room]({get_settings().gateway_url}/)"
    create_markdown_artifact(key=f"release-{release_id}", markdown=page, description=f"The way of release {release_id}")
    return {
        "release": release_id,
        "state": str(entries[-1].state),
        "reason": entries[-1].reason,
        "history": [{"state": str(entry.state), "actor": entry.actor, "reason": entry.reason} for entry in entries],
    }
