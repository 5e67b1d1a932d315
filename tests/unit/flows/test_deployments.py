"""Every flow is deployed with a schedule, and what an event starts is declared."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import flows
from flows.deployments import DEPLOYMENTS, RETRAIN_EVENT, ROLLBACK_EVENT
from services.releases.prefect_api import RELEASE_ENDED


@pytest.mark.parametrize("deployed", DEPLOYMENTS, ids=lambda deployed: deployed.name)
def test_a_deployment_names_a_flow_and_a_valid_cron(deployed):
    from prefect.client.schemas.schedules import CronSchedule

    module, function = deployed.entrypoint.split(":")
    flow = getattr(importlib.import_module(module), function)
    assert flow.name == deployed.name
    assert CronSchedule(cron=deployed.cron, timezone="UTC").cron == deployed.cron


def test_every_flow_file_is_deployed():
    folder = Path(flows.__file__).parent
    written = {file.stem for file in folder.glob("*.py") if "@flow(" in file.read_text()}
    assert written == {deployed.name for deployed in DEPLOYMENTS}


def test_drift_events_start_retraining_and_rollback():
    started = {deployed.on_event: deployed.name for deployed in DEPLOYMENTS if deployed.on_event}
    assert started == {RETRAIN_EVENT: "retrain", ROLLBACK_EVENT: "rollback", RELEASE_ENDED: "release_ended"}


def test_what_must_not_wait_for_a_training_has_a_queue_of_its_own():
    from infra.processes import URGENT_QUEUE

    assert {deployed.name for deployed in DEPLOYMENTS if deployed.queue == URGENT_QUEUE} == {
        "rollback",
        "release_ended",
        "reconcile",
    }


def test_a_deployment_is_registered_with_its_queue(monkeypatch):
    from prefect.deployments.runner import RunnerDeployment

    from flows.deployments import _register_one
    from infra.processes import WORK_POOL

    queues = {}
    monkeypatch.setattr(
        RunnerDeployment, "apply", lambda made: queues.update({made.name: (made.work_pool_name, made.work_queue_name)})
    )
    for deployed in DEPLOYMENTS:
        _register_one(deployed, True, {})
    assert queues == {deployed.name: (WORK_POOL, deployed.queue) for deployed in DEPLOYMENTS}
