"""The stream bench's second part: events that wait at the broker, until their features are in the online store."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import structlog

from feature_repo.aggregates.stream_output import read_progress
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.aggregates.stream_worker import StreamWorker, rest_collector
from feature_repo.datasets.world.event_bulk import BulkWorld, bulk_events
from flows.steps.progress import announce
from infra.settings import Settings
from tests.bench.event_sender import send_all
from tests.bench.stopwatch import Lap, Stopwatch
from tests.bench.stream_rig import stream_rig

BATCHES = (1, 50)  # events of a message: one by one, and as an app sends them
_WARM_UP_SHARE = 8  # the warm-up is one in so many of all events


def bench_broker_to_online(folder: Path, world: BulkWorld) -> list[dict]:
    """For each of BATCHES: send an equal portion of the world's events to a local broker, then time the stream worker on them.

    The worker runs in this process with all it does in production: broker, exactly-once state, lake, online store (SQLite),
    snapshot. A portion is done when all of it is applied and saved and every touched key of every family is online.

    Keys of each: batch (events of a message), events, events_per_s and cpu_us_per_event until all of that; users_online: the
    same two until everything is saved and every user's row is online, which is what requests read.
    """
    events = bulk_events(world, 0, 1)
    warm_up = events.height // _WARM_UP_SHARE
    each = (events.height - warm_up) // len(BATCHES)
    with stream_rig(folder, world) as settings, _quiet_worker():
        state = StreamState(settings.paths.stream)
        worker = StreamWorker(settings, state)
        portions = _Portions(settings, worker)
        try:
            with rest_collector():
                portions.work_off(events.head(warm_up), 1)
                return [portions.work_off(events.slice(warm_up + n * each, each), one) for n, one in enumerate(BATCHES)]
        finally:
            worker.close()
            state.close()


@contextmanager
def _quiet_worker() -> Iterator[None]:
    """Of the worker's log only what is wrong, on stderr: stdout is the report's."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.configure(**before)


class _Portions:
    """Portions of events, sent to the broker one after the other and worked off."""

    def __init__(self, settings: Settings, worker: StreamWorker) -> None:
        self._settings = settings
        self._worker = worker
        self._sent = 0

    def work_off(self, events: pl.DataFrame, batch: int) -> dict:
        """Send `events` in messages of `batch`, and time the worker on them."""
        self._sent += send_all(self._settings.broker, events, batch)
        watch, until_users = Stopwatch(), None
        while True:
            self._worker.step()
            progress = read_progress(self._settings)
            if progress is None or sum(progress["offsets"].values()) < self._sent:
                continue
            until_users = until_users or watch.lap()
            if progress["waiting"] == 0:
                break
        rest = watch.lap()
        whole = Lap(until_users.wall_s + rest.wall_s, until_users.cpu_s + rest.cpu_s)
        figures = {"batch": batch, "events": events.height, **_pace(events.height, whole)}
        announce(f"broker to online store, {batch} events a message: {figures['events_per_s']:,} events/s")
        return {**figures, "users_online": _pace(events.height, until_users)}


def _pace(events: int, lap: Lap) -> dict:
    return {"events_per_s": round(events / lap.wall_s), "cpu_us_per_event": round(lap.cpu_s / events * 1e6, 2)}
