"""Flow `stream`: what the stream worker goes on from, seeded from the lake."""

from __future__ import annotations

from datetime import datetime

from prefect import flow, task

from flows.steps.lakes import lived_until
from flows.steps.progress import announce
from flows.steps.retries import FLAKY_EDGE
from infra.settings import get_settings


@task(name="seed stream state", **FLAKY_EDGE)
def seed_stream(end: datetime) -> dict[str, int]:
    """Counters and histories of all events of the lake; the worker rests meanwhile. `later_events`: those from `end` on."""
    from feature_repo.aggregates.stream_worker import seed_stream_state
    from flows.steps.platform import stream_worker_paused

    settings = get_settings()
    with stream_worker_paused(settings):
        return seed_stream_state(settings, end)


@flow(name="stream")
def stream_flow() -> dict[str, int]:
    """Seed the stream worker's state as flow `features` does, and let the worker go on from it."""
    announce("seeding the stream worker's state")
    return seed_stream(lived_until(get_settings()))
