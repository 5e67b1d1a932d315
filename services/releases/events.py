"""Tells Prefect's server what became of a release, over its REST API: the controller needs none of Prefect's packages."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import httpx

RELEASE_ENDED = "home-mixer.release.ended"
TIMEOUT_S = 2.0  # well below the controller's lease


def tell_end(prefect_api_url: str, release_id: str, state: str) -> None:
    """Emit the event that starts the flow `release_ended`. Raises httpx.HTTPError where the server does not take it."""
    event = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": RELEASE_ENDED,
        "resource": {"prefect.resource.id": f"home-mixer.release.{release_id}", "prefect.resource.name": release_id},
        "payload": {"release_id": release_id, "state": state},
    }
    httpx.post(f"{prefect_api_url}/events", json=[event], timeout=TIMEOUT_S).raise_for_status()
