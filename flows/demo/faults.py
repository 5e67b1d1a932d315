"""The planted fault: one feature column is shifted, the drift check must catch it, and an automation must retrain."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.progress import announce
from infra.settings import Settings

RUN_TIMEOUT_S = 600.0
CLOCK_SLACK = timedelta(seconds=5)


class NotCaught(RuntimeError):
    """The planted fault led to no retraining."""


def plant_and_await_retraining(settings: Settings, check_drift: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Plant the fault, see the decision, and wait for the retraining that the automation starts on the server."""
    from flows.training.registered_versions import version_of
    from flows.training.report import read_report

    began = datetime.now(UTC) - CLOCK_SLACK
    report = check_drift(planted=True)
    if report["verdict"] != "retrain":
        raise NotCaught(f"the planted fault in {report['planted']} gave verdict {report['verdict']!r}: {report['reasons']}")
    announce("the drift event is out; waiting for the automation to start `retrain`")
    run = await_run("retrain/retrain", began)
    challenger = version_of(settings, "challenger")
    return {**report, "flow_run": run, "challenger": challenger, "gate": read_report(settings, challenger)["gate"]}


def await_run(deployment: str, began: datetime) -> dict[str, str]:
    """Wait for the newest run of `deployment` that an automation created after `began`; raises where it fails."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
    from prefect.client.schemas.sorting import FlowRunSort

    deadline = time.monotonic() + RUN_TIMEOUT_S
    with get_client(sync_client=True) as client:
        wanted = client.read_deployment_by_name(deployment).id
        said = None
        while time.monotonic() < deadline:
            runs = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[wanted])),
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                limit=1,
            )
            run = next((run for run in runs if run.created and run.created >= began), None)
            if run is not None:
                if run.state.name != said:
                    said = run.state.name
                    by = run.created_by.type.lower() if run.created_by else "unknown"
                    announce(f"{deployment} run {run.name!r}, created by {by}: {said}")
                if run.state.is_completed():
                    by = run.created_by.display_value if run.created_by else ""
                    return {"id": str(run.id), "name": run.name, "created_by": by or "", "state": run.state.name}
                if run.state.is_final():
                    raise NotCaught(f"{deployment} run {run.name!r} ended {run.state.name}: {run.state.message}")
            time.sleep(0.5)
    raise NotCaught(f"no run of {deployment} completed within {RUN_TIMEOUT_S:.0f} s; see the Prefect worker's log")
