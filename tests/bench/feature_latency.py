"""The stream bench's third part: how soon an event is in its user's online row while events keep coming at an even pace."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import psutil
from confluent_kafka import Consumer, TopicPartition

from feature_repo.aggregates.stream_output import read_progress
from feature_repo.broker_topics import EVENTS_TOPIC
from feature_repo.bulk_online.entity_keys import entity_keys
from feature_repo.datasets.world.event_bulk import BulkWorld, bulk_events
from feature_repo.online_store import PROJECT, online_file
from flows.steps.progress import announce
from infra.processes import stream_worker
from infra.settings import Settings
from infra.supervisor import Supervisor
from tests.bench.percentiles import percentiles
from tests.bench.stream_rig import stream_rig

LOOK_EVERY_S = 0.02  # between two looks at the online store
WARM_UP_S = 4.0  # the worker starts, and every user is new to it
WATCHED = 20  # one user in so many is looked at: looking takes from the two cores that are measured
PATIENCE_S = 60.0  # after the last event was sent
BROKER_S = 10.0
_VIEW = f'"{PROJECT}_user"'  # written last of what a user's events change


class EventsNotSeen(TimeoutError):
    """Events did not reach the online store in time."""


def bench_feature_latency(folder: Path, world: BulkWorld, events_per_s: float = 20_000, seconds: float = 20) -> dict:
    """Send events of `world` at an even pace from another process, to a stream worker that is another process too.

    An event's latency is the moment at which its user's online row is first seen to include it, less the broker's timestamp
    of its message. This process looks at the rows of one user in WATCHED in the online store (SQLite) every LOOK_EVERY_S, so
    what it sees is late by up to that. The first WARM_UP_S are sent but not counted.

    Keys: p50_ms, p99_ms, max_ms, events_per_s (offered), worker_cpu_us_per_event (its start included), seconds,
    events (counted), users (watched). Raises EventsNotSeen.
    """
    sent = bulk_events(world, 0, 1).head(round(events_per_s * (WARM_UP_S + seconds)))
    users = sent["user_id"].unique().sort().to_numpy()[::WATCHED]
    with stream_rig(folder, world) as settings:
        process = stream_worker(settings)
        worker = psutil.Process(Supervisor(settings).start(process).pid)
        file = settings.paths.home / "paced.parquet"
        sent.write_parquet(file)
        looks = _watched(settings, users, sent.height, file, events_per_s)
        used_s = sum(worker.cpu_times()[:2])
        read_back = _sent(settings, sent.height)
    counted = read_back.filter(pl.col("stamp_us") >= read_back["stamp_us"].min() + WARM_UP_S * 1e6)
    latencies = latencies_ms(counted, looks)
    figures = {**percentiles(latencies), "max_ms": round(float(latencies.max()), 1)}
    announce(f"event to feature at {events_per_s:,.0f} events/s: {figures}")
    figures |= {"events_per_s": events_per_s, "worker_cpu_us_per_event": round(used_s / sent.height * 1e6, 1)}
    return {**figures, "seconds": seconds, "events": len(latencies), "users": len(users)}


@dataclass(frozen=True)
class _Looks:
    """What was seen of some users' online rows."""

    users: np.ndarray  # int64 (u,), ascending
    newest_us: np.ndarray  # int64 (looks, u): time of the newest event in each user's row, 0 where there is no row
    moments_us: np.ndarray  # int64 (looks,): the moment after each look


def _watched(settings: Settings, users: np.ndarray, events: int, file: Path, events_per_s: float) -> _Looks:
    """Have the events sent, and look at the rows of `users` until the worker says that it has shown all."""
    command = (sys.executable, "-m", "tests.bench.event_sender", settings.broker, str(file), str(events_per_s))
    sender = subprocess.Popen(command, env=settings.process_environment({}))
    place_of = {key: place for place, key in enumerate(entity_keys(["user_id"], [users]))}
    keys = list(place_of)
    query = f"SELECT entity_key, value_text FROM {_VIEW} WHERE feature_name = 'updated_at'"
    query += f" AND entity_key IN ({', '.join('?' * len(keys))})"
    newest, moments, done, deadline = [], [], False, None
    try:
        with closing(sqlite3.connect(f"file:{online_file(settings)}?mode=ro", uri=True, timeout=30)) as store:
            while not done:
                time.sleep(LOOK_EVERY_S)
                done = sender.poll() is not None and _shown(settings) >= events  # then this look is the last one needed
                row = np.zeros(len(users), np.int64)
                for key, text in store.execute(query, keys):
                    row[place_of[key]] = int(text)
                newest.append(row)
                moments.append(time.time_ns() // 1_000)
                if sender.poll() is not None:
                    deadline = deadline or time.monotonic() + PATIENCE_S
                    if sender.returncode or time.monotonic() > deadline:
                        raise EventsNotSeen(
                            f"{_shown(settings):,} of {events:,} events were online {PATIENCE_S:.0f} s after the sender ended "
                            f"with code {sender.returncode}; see {settings.paths.logs}"
                        )
    finally:
        sender.kill()
        sender.wait()
    return _Looks(users, np.array(newest), np.array(moments))


def _shown(settings: Settings) -> int:
    """Messages whose events are applied and saved, their users online."""
    progress = read_progress(settings)
    return 0 if progress is None else sum(progress["offsets"].values())


def _sent(settings: Settings, messages: int) -> pl.DataFrame:
    """All messages, read back from the broker: user_id, at (us, as sent), stamp_us (the broker's, in whole milliseconds)."""
    rows = []
    consumer = Consumer({"bootstrap.servers": settings.broker, "group.id": "bench", "enable.auto.commit": False})
    consumer.assign([TopicPartition(EVENTS_TOPIC, 0, 0)])
    try:
        while len(rows) < messages:
            found = consumer.consume(10_000, timeout=BROKER_S)
            if not found:
                raise EventsNotSeen(
                    f"the broker gave {len(rows):,} of {messages:,} messages back, and no more in {BROKER_S:.0f} s"
                )
            for message in found:
                event = orjson.loads(message.value())
                rows.append((event["user_id"], event["occurred_at"], message.timestamp()[1] * 1_000))
    finally:
        consumer.close()
    return pl.DataFrame(rows, schema={"user_id": pl.Int64, "at": pl.Int64, "stamp_us": pl.Int64}, orient="row")


def latencies_ms(events: pl.DataFrame, looks: _Looks) -> np.ndarray:
    """Milliseconds from each event's stamp to the first look that saw it; float64, the events of `looks.users` only.

    A user's row shows the time of the user's newest event; a user's events were sent in their order.
    """
    out = []
    for user, own in events.filter(pl.col("user_id").is_in(looks.users)).group_by("user_id"):
        shown = looks.newest_us[:, np.searchsorted(looks.users, user[0])]
        first = np.searchsorted(np.maximum.accumulate(shown), own["at"].to_numpy())  # the first look with shown >= at
        if (first == len(shown)).any():
            raise EventsNotSeen(f"user {user[0]}: {int((first == len(shown)).sum())} events never came online")
        out.append((looks.moments_us[first] - own["stamp_us"].to_numpy()) / 1e3)
    return np.concatenate(out)
