"""Seed the stream worker's state from the offline tables, so that the stream goes on where the batch ended."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from feature_repo.aggregates.catalogue import Key
from feature_repo.aggregates.stream_fold import fold_events
from feature_repo.aggregates.stream_history import pack
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.event_log import read_events
from feature_repo.exposures import UNDATED, exposure_frame
from feature_repo.feature_rows import HEADS, HISTORY_LENGTH
from feature_repo.lake import Lake
from feature_repo.offline import STATES, states_built_until
from feature_repo.products import product_bucket
from feature_repo.state_tables import read_state_table
from infra.settings import Settings

STATE_FILE = "state.db"
LOCK_FILE = "worker.lock"
STREAM_PART = re.compile(r"stream-(?:g(?P<generation>\d+)-)?(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)")
SEEDED = "seeded"
_FOLD_ROWS = 20_000


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
    """Replace states and histories by the offline ones as of `end`, then fold the lake's later events; no worker may run.

    Offsets and seen event ids are kept. Where the state file is new but the lake holds parts that an earlier worker wrote,
    both are taken over from those parts. Returns seeded rows per key, and `later_events`.
    """
    lake = open_lake(settings)
    built_until = states_built_until(settings)
    end_us = round(end.timestamp() * 1e6)
    cut_us = end_us if built_until is None else min(end_us, built_until + 1)
    cut = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=cut_us)
    with exclusive(settings):
        state = StreamState(settings.paths.stream / STATE_FILE)
        try:
            with state.transaction():
                state.clear_features()
                written = {key.value: _seed_states(settings, state, key, cut_us) for key in Key}
                written["histories"] = _seed_histories(state, lake, cut)
                if not state.offsets():
                    _take_over_parts(state, lake)
                written["later_events"] = _fold_later(state, lake, cut)
                state.set_number(SEEDED, 1)
        finally:
            state.close()
    return written


def _seed_states(settings: Settings, state: StreamState, key: Key, cut_us: int) -> int:
    table = read_state_table(settings.paths.features / STATES / f"{key.value}.parquet", key)
    ids, states = table.before(cut_us).latest()
    state.put_states(key, ids.tolist(), states)
    if len(ids):
        newest = int(states.updated_at.max())
        state.set_number("newest_event_us", max(newest, state.number("newest_event_us") or 0))
    return len(ids)


def _seed_histories(state: StreamState, lake: Lake, cut: datetime) -> int:
    frame = exposure_frame(read_events([lake], until=cut - timedelta(microseconds=1)))
    newest = frame.group_by("user_id", maintain_order=True).tail(HISTORY_LENGTH).sort("user_id", maintain_order=True)
    bits = pl.sum_horizontal(
        [pl.col(f"at_{head}").is_not_null().cast(pl.Int64) * (1 << place) for place, head in enumerate(HEADS)]
    )
    names = newest["product"].unique().to_list()
    rows = newest.select(
        "user_id",
        "at",
        ~pl.col(UNDATED),
        "position",
        "event_id",
        "request_id",
        "post_id",
        "author_id",
        "topic",
        pl.col("product").replace_strict(names, [product_bucket(name) for name in names], return_dtype=pl.Int64),
        bits.alias("actions"),
    )
    users, first = np.unique(rows["user_id"].to_numpy(), return_index=True)
    values = list(rows.drop("user_id").iter_rows())
    ends = [*first[1:].tolist(), len(values)]
    packed = (
        (user_id, pack(values[start:end], [])) for user_id, start, end in zip(users.tolist(), first.tolist(), ends, strict=True)
    )
    state.put_packed_histories(packed)
    return len(users)


def _take_over_parts(state: StreamState, lake: Lake) -> None:
    """Offsets and seen ids of an earlier worker, read off the lake parts that it wrote."""
    newest: dict[int, tuple[int, int]] = {}
    for file in sorted(lake.root.glob("events/day=*/stream-*.parquet")):
        match = STREAM_PART.fullmatch(file.stem)
        if match is None:
            continue
        state.first_seen(pl.read_parquet(file, columns=["event_id"])["event_id"].to_list())
        reached = (int(match["generation"] or 0), int(match["last"]) + 1)
        newest[int(match["partition"])] = max(newest.get(int(match["partition"]), (0, 0)), reached)
    for partition, (generation, following) in newest.items():
        state.set_offset(partition, following, generation)


def _fold_later(state: StreamState, lake: Lake, cut: datetime) -> int:
    later = read_events([lake], since=cut).sort("at", "event_id")
    for start in range(0, later.height, _FOLD_ROWS):
        fold_events(state, later.slice(start, _FOLD_ROWS))
    return later.height
