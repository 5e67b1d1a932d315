"""Seed the stream worker's state from the lake: the stream engine folds what the lake holds, and goes on from there."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import polars as pl

from feature_repo.aggregates.late_posts import note_unplaced
from feature_repo.aggregates.stream_events import StreamEvents, text_hashes
from feature_repo.aggregates.stream_parts import stream_parts
from feature_repo.aggregates.stream_seeded import SEEDED
from feature_repo.aggregates.stream_state import Position, StreamState
from feature_repo.aggregates.topics import Topics
from feature_repo.event_log import read_events, read_table
from feature_repo.lake import Lake
from infra.settings import Settings

LOCK_FILE = "worker.lock"
_FOLD_ROWS = 200_000


class WorkerRunning(RuntimeError):
    """The stream state is held by a running worker."""


class LakeUnknown(LookupError):
    """The lake does not say which dataset it holds."""


def open_lake(settings: Settings) -> Lake:
    """The platform's lake with the local time zone that ingestion recorded in it."""
    marker = Lake(settings.paths.lake).marker("dataset")
    if marker is None:
        raise LakeUnknown(f"{settings.paths.lake} has no `dataset` marker; ingest a dataset first (`mixer run ingest`)")
    return Lake(settings.paths.lake, timedelta(seconds=marker["day_offset_s"]))


@contextmanager
def exclusive(settings: Settings) -> Iterator[None]:
    """Hold the stream state alone; the lock goes with the process, however it ends. Raises WorkerRunning."""
    file = settings.paths.stream / LOCK_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkerRunning(f"{file} is held by a running stream worker; stop it first") from error
        yield


def seed_stream_state(settings: Settings, end: datetime) -> dict[str, int]:
    """Replace cells and histories by what the lake's events give, whatever came before or after `end`; no worker may run.

    Offsets and known event ids are kept. Where the state is new but the lake holds parts that an earlier worker wrote, both
    are taken over from those parts. Returns cells per family, `histories`, `events`, and `later_events`: those from `end` on.
    """
    lake = open_lake(settings)
    with exclusive(settings):
        state = StreamState(settings.paths.stream, features=False)
        try:
            if not state.positions:
                _take_over_parts(state, lake)
            events = read_events([lake]).sort("at", "event_id")
            _fold(state, events, Topics(read_table([lake], "posts")))
            state.let_all_wait()
            state.set_number(SEEDED, 1)
            state.save()
            counted = {name: len(table) for name, table in state.engine.tables.items()}
            later = (events["at"] >= round(end.timestamp() * 1e6)).sum()
            return {**counted, "histories": len(state.histories), "events": events.height, "later_events": int(later)}
        finally:
            state.close()


def _fold(state: StreamState, events: pl.DataFrame, topics: Topics) -> None:
    """Fold events (columns of `event_log.read_events`, oldest first)."""
    for start in range(0, events.height, _FOLD_ROWS):
        part = events.slice(start, _FOLD_ROWS)
        columns = StreamEvents.of(part, part["topic"].to_numpy())
        state.engine.fold(columns)
        state.histories.fold(columns)
        note_unplaced(state, columns, topics)
    if events.height:
        newest = int(events["at"].max())
        state.set_number("newest_event_us", max(newest, state.number("newest_event_us") or 0))


def _take_over_parts(state: StreamState, lake: Lake) -> None:
    """Offsets and event ids of an earlier worker, read off the lake parts that it wrote."""
    for file, partition, generation, _, last in stream_parts(lake):
        events = pl.read_parquet(file, columns=["event_id", "occurred_at"], hive_partitioning=False)
        at_us = events["occurred_at"].dt.epoch("us").to_numpy()
        state.ids.add(text_hashes(events["event_id"]), at_us)
        held = state.positions.get(partition, Position(0))
        reached = max((held.generation, held.following), (generation, last + 1))
        state.positions[partition] = Position(reached[1], reached[0], max(held.newest_us, int(at_us.max())))
