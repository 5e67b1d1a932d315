"""Every flow as a Prefect deployment: its schedule, and the automations that start it from an event.

`mixer deploy` registers them. Schedules can be registered paused, as the demo does, so that no cron run falls into it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from infra.processes import LONG_QUEUE, URGENT_QUEUE, WORK_POOL
from infra.settings import Settings
from services.releases.prefect_api import RELEASE_ENDED

RETRAIN_EVENT = "home-mixer.drift.retrain"
ROLLBACK_EVENT = "home-mixer.drift.rollback"


@dataclass(frozen=True)
class Deployed:
    """One deployment: where its flow is, when it runs, and which event starts it."""

    name: str
    entrypoint: str  # module:function
    cron: str
    description: str
    active: bool = True  # False: registered with its schedule paused, since a person or an event starts it
    on_event: str | None = None
    event_parameters: dict[str, Any] = field(default_factory=dict)
    queue: str = LONG_QUEUE  # of the work pool


DEPLOYMENTS = (
    Deployed("ingest", "flows.ingest:ingest_flow", "0 2 * * *", "Bring new days of the dataset into the lake."),
    Deployed(
        "validate", "flows.validate:validate_flow", "20 2 * * *", "Check the contract tables, quarantine what breaks a rule."
    ),
    Deployed(
        "features", "flows.features:features_flow", "40 2 * * *", "Rebuild aggregates, materialise them, publish a snapshot."
    ),
    Deployed(
        "stream",
        "flows.stream:stream_flow",
        "0 3 * * *",
        "Seed the stream worker's state from the lake, as features does; for what a run that was broken off left.",
        active=False,
    ),
    Deployed(
        "train", "flows.train:train_flow", "0 4 * * 0", "Train the rankers from scratch and compare them with the baselines."
    ),
    Deployed(
        "sweep",
        "flows.sweep:sweep_flow",
        "0 6 * * 6",
        "Fit the heavy ranker at several learning rates and name the best; registers no model.",
        active=False,
    ),
    Deployed("drift", "flows.drift:drift_flow", "15 * * * *", "Compare recent days with the training days and decide."),
    Deployed(
        "retrain",
        "flows.retrain:retrain_flow",
        "0 5 * * *",
        "Train a challenger on the days lived through so far; registers it and deploys nothing.",
        on_event=RETRAIN_EVENT,
        event_parameters={"reason": "{{ event.payload.reason }}"},
    ),
    Deployed(
        "release",
        "flows.release:release_flow",
        "0 9 * * 1-5",
        "Build, start and submit the challenger; the controller takes it through canary and approval.",
        active=False,
    ),
    Deployed(
        "release_ended",
        "flows.release_ended:release_ended_flow",
        "0 0 1 1 *",
        "Crown the model of a release that went live, and stop old processes.",
        active=False,
        on_event=RELEASE_ENDED,
        event_parameters={"release_id": "{{ event.payload.release_id }}"},
        queue=URGENT_QUEUE,
    ),
    Deployed(
        "replay",
        "flows.replay:replay_flow",
        "0 12 * * *",
        "Send logged days through the gateway as live traffic.",
        active=False,
    ),
    Deployed(
        "consistency",
        "flows.consistency:consistency_flow",
        "45 * * * *",
        "Recompute a sample of what was served, and fail where it differs from the lake.",
    ),
    Deployed(
        "feature_quality",
        "flows.feature_quality:feature_quality_flow",
        "20 3 * * *",
        "Null share, range, drift and importance of every feature of the catalogue, on one page.",
    ),
    Deployed(
        "reconcile",
        "flows.reconcile:reconcile_flow",
        "*/10 * * * *",
        "Bring processes and routes back to what the ledger says.",
        queue=URGENT_QUEUE,
    ),
    Deployed(
        "rollback",
        "flows.rollback:rollback_flow",
        "0 0 1 1 *",
        "Return to the previous live release.",
        active=False,
        on_event=ROLLBACK_EVENT,
        event_parameters={"reason": "{{ event.payload.reason }}"},
        queue=URGENT_QUEUE,
    ),
)


def import_flows() -> None:
    """Import the flows that are to be registered, which takes seconds."""
    for deployed in DEPLOYMENTS:
        _flow_of(deployed)


def register(settings: Settings, *, paused: bool = False, parameters: Mapping[str, dict[str, Any]] | None = None) -> list[str]:
    """Create the work pool, register every deployment and its automation on the server; returns `flow/deployment` names.

    parameters: by deployment, what its runs are given beside what a schedule or an event gives them.
    """
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.context import SyncClientContext
    from prefect.exceptions import ObjectAlreadyExists

    given = parameters or {}
    # One client for all: each of its own would read the certificates anew, twice a deployment.
    with SyncClientContext.get_or_create() as context:
        # A pool that is there was registered before: deployments are updated in place.
        with suppress(ObjectAlreadyExists):
            context.client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
        return [_register_one(deployed, paused, given.get(deployed.name, {})) for deployed in DEPLOYMENTS]


def _register_one(deployed: Deployed, paused: bool, parameters: dict[str, Any]) -> str:
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.deployments.runner import EntrypointType
    from prefect.events import DeploymentEventTrigger

    flow = _flow_of(deployed)
    triggers = []
    if deployed.on_event:
        triggers.append(
            DeploymentEventTrigger(
                name=f"{deployed.name} on {deployed.on_event}",
                expect={deployed.on_event},
                parameters={
                    name: {"template": text, "__prefect_kind": "jinja"} for name, text in deployed.event_parameters.items()
                },
            )
        )
    deployment = flow.to_deployment(
        name=deployed.name,
        description=deployed.description,
        schedules=[{"schedule": CronSchedule(cron=deployed.cron, timezone="UTC"), "active": deployed.active and not paused}],
        triggers=triggers,
        parameters=parameters,
        work_pool_name=WORK_POOL,
        work_queue_name=deployed.queue,
        entrypoint_type=EntrypointType.MODULE_PATH,
        tags=["home-mixer"],
    )
    deployment.apply()
    return f"{flow.name}/{deployed.name}"


def _flow_of(deployed: Deployed) -> Any:
    module, function = deployed.entrypoint.split(":")
    return getattr(importlib.import_module(module), function)
