"""What the controller asks of Prefect's server, over its REST API: it needs none of Prefect's packages."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

RELEASE_ENDED = "home-mixer.release.ended"
TIMEOUT_S = 2.0
FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
CANCELLED = frozenset({"CANCELLING", "CANCELLED"})


@dataclass(frozen=True)
class FlowRunState:
    """A flow run as the server knows it. `state` is one of Prefect's state types, such as `PAUSED`."""

    run_id: str
    name: str
    state: str
    message: str | None
    deployed: bool  # whether it is a deployment's, so that a worker ran it

    @property
    def over(self) -> bool:
        return self.state in FINAL

    @property
    def cancelled(self) -> bool:
        return self.state in CANCELLED


class PrefectApi:
    """The server whose API is at `url`. Every method raises httpx.HTTPError where it does not answer in time, or refuses."""

    def __init__(self, url: str) -> None:
        # One client for all: to make one reads the certificates, which costs more than a request.
        self._client = httpx.Client(base_url=url.rstrip("/") + "/", timeout=TIMEOUT_S)

    def tell_end(self, release_id: str, state: str) -> None:
        """Emit the event that starts the flow `release_ended`."""
        event = {
            "id": str(uuid.uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": RELEASE_ENDED,
            "resource": {"prefect.resource.id": f"home-mixer.release.{release_id}", "prefect.resource.name": release_id},
            "payload": {"release_id": release_id, "state": state},
        }
        self._post("events", [event])

    def runs(self, run_ids: Sequence[str]) -> dict[str, FlowRunState]:
        """The flow runs by id; those that the server does not know are left out."""
        found = self._post("flow_runs/filter", {"flow_runs": {"id": {"any_": list(run_ids)}}})
        return {run["id"]: _run(run) for run in found}

    def paused_runs(self, flow: str) -> list[str]:
        """The ids of the flow's runs that are paused or suspended."""
        asked = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}
        return [run["id"] for run in self._post("flow_runs/filter", asked)]

    def rename(self, run_id: str, name: str) -> None:
        """Give the flow run another name. Unlike its state, its name can't undo what somebody does to the run meanwhile."""
        self._client.patch(f"flow_runs/{run_id}", json={"name": name}).raise_for_status()

    def end_run(self, run_id: str, state: str, name: str, message: str) -> bool:
        """Propose the final state type `state` to Prefect's own rules; returns whether they accepted it."""
        proposed = {"state": {"type": state, "name": name, "message": message}, "force": False}
        return self._post(f"flow_runs/{run_id}/set_state", proposed)["status"] == "ACCEPT"

    def publish(self, key: str, markdown: str, description: str, run_id: str | None = None) -> None:
        """Add a version of the markdown artifact `key`, on the page of flow run `run_id` where one is named."""
        artifact = {"key": key, "type": "markdown", "data": markdown, "description": description, "flow_run_id": run_id}
        self._post("artifacts/", artifact)

    def published(self, key: str) -> str | None:
        """The description of the newest artifact `key`; None where there is none."""
        answer = self._client.get(f"artifacts/{key}/latest")
        return None if answer.status_code == 404 else answer.raise_for_status().json()["description"]

    def _post(self, path: str, body: Any) -> Any:
        answer = self._client.post(path, json=body).raise_for_status()
        return answer.json() if answer.content else None


def _run(run: dict[str, Any]) -> FlowRunState:
    state = run.get("state") or {}
    return FlowRunState(run["id"], run["name"], state.get("type") or "", state.get("message"), bool(run.get("deployment_id")))
