"""The planted fault: one feature column is shifted, the drift check must catch it, and an automation must retrain."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.steps.progress import announce
from flows.steps.too_little import TooLittleData
from infra.settings import Settings

START_TIMEOUT_S = 600.0  # until the automation's run is at work: two cores may be busy with others
RUN_TIMEOUT_S = 6 * 3600.0  # until it has ended; a training on all of a large log takes hours
CLOCK_SLACK = timedelta(seconds=5)


PLANTED = "planted:"  # how the reason of a planted fault's retraining begins
REFUSED = "GateFailed: "  # in the words of a run that ended so


class NotCaught(RuntimeError):
    """The planted fault led to no retraining."""


def plant_and_await_retraining(settings: Settings, check_drift: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Plant the fault, see the decision, and wait for the retraining that the automation starts on the server."""
    began = datetime.now(UTC) - CLOCK_SLACK
    report = check_drift(planted=True)
    if not report["columns"]:
        raise TooLittleData(report["reasons"][0])
    if report["verdict"] != "retrain":
        raise NotCaught(f"the planted fault in {report['planted']} gave verdict {report['verdict']!r}: {report['reasons']}")
    return {**report, **await_challenger(settings, began, planted=True)}


def await_challenger(settings: Settings, began: datetime, *, planted: bool) -> dict[str, Any]:
    """The automation's retraining, of the planted or of the real drift, and the challenger that it made.

    Keys: flow_run, challenger (None where the gate refused it), gate (the figures), refused (the gate's words, else None).
    """
    from flows.training.registered_versions import version_of
    from flows.training.report import read_report

    announce("the drift event is out; waiting for the automation to start `retrain`")
    run = await_run("retrain/retrain", began, planted=planted)
    if run["refused"] is not None:
        return {"flow_run": run, "challenger": None, "gate": None, "refused": run["refused"]}
    challenger = version_of(settings, "challenger")
    report = read_report(settings, challenger)
    found = {"flow_run": run, "challenger": challenger, "gate": report["gate"], "refused": None}
    return {**found, **{name: report[name] for name in ("learned_from", "sampled") if name in report}}


def await_run(deployment: str, began: datetime, *, planted: bool) -> dict[str, Any]:
    """Wait for the newest run of `deployment` that an automation created after `began` for a planted or a real drift.

    Raises NotCaught where it fails otherwise than by the gate, whose words are in `refused`.
    """
    from prefect.client.orchestration import get_client

    began_waiting = time.monotonic()
    at_work = False
    with get_client(sync_client=True) as client:
        wanted = client.read_deployment_by_name(deployment).id
        said = None
        while time.monotonic() - began_waiting < (RUN_TIMEOUT_S if at_work else START_TIMEOUT_S):
            run = _newest(client, wanted, began, planted)
            if run is not None:
                by, at_work = run.created_by, at_work or run.state.is_running()
                if run.state.name != said:
                    said = run.state.name
                    announce(f"{deployment} run {run.name!r}, created by {by.type.lower() if by else 'unknown'}: {said}")
                if run.state.is_final():
                    created_by = (by.display_value if by else "") or ""
                    refused = None if run.state.is_completed() else _refusal(deployment, run)
                    told = {"id": str(run.id), "name": run.name, "created_by": created_by, "state": run.state.name}
                    return {**told, "refused": refused}
            time.sleep(0.5)
    waited = f"{time.monotonic() - began_waiting:.0f} s"
    raise NotCaught(f"no run of {deployment} {'ended' if at_work else 'began'} within {waited}; see the Prefect worker's log")


def _newest(client: Any, deployment_id: Any, began: datetime, planted: bool) -> Any | None:
    """The newest run after `began` whose reason is a planted fault, or is none."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
    from prefect.client.schemas.sorting import FlowRunSort

    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=10,
    )
    return next((run for run in runs if run.created and run.created >= began and is_planted(run.parameters) == planted), None)


def is_planted(parameters: dict[str, Any]) -> bool:
    """Whether a retraining with these parameters was started for a planted fault."""
    return str(parameters.get("reason", "")).startswith(PLANTED)


def _refusal(deployment: str, run: Any) -> str:
    """The gate's words where it refused the challenger; raises NotCaught for any other end."""
    message = run.state.message or ""
    if REFUSED in message:
        return message.partition(REFUSED)[2]
    raise NotCaught(f"{deployment} run {run.name!r} ended {run.state.name}: {message}")
