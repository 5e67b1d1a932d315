"""Exactly once, shown: 250,000 events, some twice and some late, through a worker that is killed fifty times at random.

Afterwards every cell of every family is what the batch engine makes of the same events: none lost, none counted twice.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import ibis
import numpy as np
import polars as pl
import pytest
from confluent_kafka import Producer

from feature_repo.aggregates.batch_cells import coded_cells_as_of, to_cells
from feature_repo.aggregates.cells import CELL, faded_at, sliding_at
from feature_repo.aggregates.coded_events import coded_events
from feature_repo.aggregates.families import FAMILIES, Family
from feature_repo.aggregates.measures import COUNTED
from feature_repo.aggregates.stream_apply import LATE_US
from feature_repo.aggregates.stream_output import read_progress
from feature_repo.aggregates.stream_seed import seed_stream_state
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.broker_topics import EVENTS_TOPIC
from feature_repo.datasets.world.event_bulk import BulkWorld, bulk_events
from feature_repo.feature_store import apply, open_store
from feature_repo.lake import Lake
from infra.settings import Settings
from tests.forked import forked
from tests.local_broker import local_broker
from tests.said import SAID_AT_THE_END

pytestmark = pytest.mark.slow

EVENTS = 250_000
KILLS = 50
REPEATED, LATE = 0.01, 0.02
LIVES_S = (0.05, 1.0)  # a worker is killed this long after its process began, or has saved: it starts, applies, writes, saves
SAVING_EVERY = 3  # one worker in so many is killed after it has saved something; the others may all die young
DEADLINE_S = 120.0
WORLD = BulkWorld(EVENTS, days=4, seed=11)


@dataclass(frozen=True)
class Outcome:
    settings: Settings
    lake: Lake
    events: pl.DataFrame
    saves: int  # how many different saved positions the kills met


def work(home: Path, port: int) -> None:
    """The worker's process: what `python -m feature_repo.aggregates.stream_worker` runs, its imports paid before."""
    import sys

    from feature_repo.aggregates.stream_worker import run

    sys.stdout = sys.stderr = (home / "worker.log").open("a")
    run(Settings(home=home, broker_port=port))


def messages(events: pl.DataFrame, random: np.random.Generator) -> list[bytes]:
    """The events as they are sent: 1 % come a second time, 2 % later than they should, one to twenty in a message."""
    rows = np.arange(events.height)
    again = random.choice(rows, int(REPEATED * len(rows)), replace=False)
    place = rows + 0.5 * random.random(len(rows))
    late = random.choice(rows, int(LATE * len(rows)), replace=False)
    place[late] += random.exponential(len(rows) / WORLD.days / 24, len(late))  # about an hour's events later
    place[late] = np.minimum(place[late], rows[late] + len(rows) / WORLD.days * 0.8)  # within the declared bound of a day
    place = np.concatenate([place, place[again] + random.exponential(20_000, len(again))])
    order = np.concatenate([rows, again])[np.argsort(place)]
    sent = events.drop("topic").rename({"at": "occurred_at"})
    sent = sent.select(pl.struct(pl.all()).struct.json_encode()).to_series()[order].to_list()
    bounds = np.cumsum(random.integers(1, 21, len(sent)))
    bounds = [0, *bounds[bounds < len(sent)].tolist(), len(sent)]
    return [f"[{','.join(sent[start:end])}]".encode() for start, end in zip(bounds[:-1], bounds[1:], strict=True)]


def send(port: int, content: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{port}", "enable.idempotence": True, "linger.ms": 5})
    for message in content:
        producer.produce(EVENTS_TOPIC, message)
        producer.poll(0)
    assert producer.flush(60) == 0


def small_world(events: pl.DataFrame) -> pl.DataFrame:
    """The same events of fewer people about fewer posts, so that a restart does not spend its life on loading."""
    post = pl.col("post_id") % 700
    return events.with_columns(
        user_id=pl.col("user_id") % 400, post_id=post, author_id=post % 60, topic=(post % 13 - 1).cast(pl.Int32)
    )


def empty_platform(home: Path, port: int, events: pl.DataFrame) -> tuple[Settings, Lake]:
    """A platform that knows the posts and has not met an event."""
    settings = Settings(home=home, broker_port=port)
    lake = Lake(settings.paths.lake)
    posts = events.group_by("post_id").agg(pl.col("author_id").first(), pl.col("topic").first()).sort("post_id")
    lake.write("posts", contract_posts(posts), "bulk")
    lake.mark("dataset", {"name": "bulk", "day_offset_s": 0})
    apply(settings)
    seed_stream_state(settings, pl.Series([0]).cast(pl.Datetime("us", "UTC")).item())
    return settings, lake


def contract_posts(posts: pl.DataFrame) -> pl.DataFrame:
    moment = pl.lit(WORLD.start_us).cast(pl.Datetime("us", "UTC"))
    nothing = {name: pl.lit(None, kind) for name, kind in (("duration_ms", pl.Int64), ("in_reply_to", pl.Int64))}
    nothing |= {name: pl.lit(None, pl.String) for name in ("language", "text")}
    topics = pl.when(pl.col("topic") >= 0).then(pl.concat_list(pl.col("topic").cast(pl.Int32))).otherwise([])
    return posts.select("post_id", "author_id", created_at=moment, topics=topics, media=pl.lit("TEXT"), **nothing)


def reached(settings: Settings, records: int) -> bool:
    progress = read_progress(settings)
    return progress is not None and progress["offsets"].get("0") == records and progress["waiting"] == 0


def saved_position(settings: Settings) -> int | None:
    """Offset that the saved state has reached, None before the first save."""
    progress = read_progress(settings)
    return progress["offsets"].get("0") if progress else None


def said(settings: Settings) -> str:
    """The end of what the workers said, nothing where none has come so far."""
    log = settings.home / "worker.log"
    return log.read_text()[-3_000:] if log.exists() else ""


def killed_at_random(settings: Settings, port: int, random: np.random.Generator, content: list[bytes]) -> set[int | None]:
    """Start and SIGKILL a worker for each piece of the messages, sent while it lives; returns the saved positions they left."""
    size = len(content) // KILLS + 1
    saved: set[int | None] = set()
    with ThreadPoolExecutor(1, thread_name_prefix="sender") as sender:
        sent = []
        for number in range(KILLS):
            sent.append(sender.submit(send, port, content[number * size : (number + 1) * size]))
            worker = forked().Process(target=work, args=(settings.home, port))
            before = saved_position(settings)
            worker.start()
            if number % SAVING_EVERY == SAVING_EVERY - 1:
                await_save(settings, worker, before)
            time.sleep(random.uniform(*LIVES_S))
            assert worker.exitcode is None, said(settings)
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
            assert worker.exitcode == -signal.SIGKILL
            saved.add(saved_position(settings))
    for one in sent:
        one.result()
    return saved


def await_save(settings: Settings, worker: BaseProcess, before: int | None) -> None:
    """Wait until the worker has saved more than was saved `before`."""
    deadline = time.monotonic() + DEADLINE_S
    while saved_position(settings) == before:
        assert worker.exitcode is None, said(settings)
        assert time.monotonic() < deadline, f"nothing was saved after {before}:\n{said(settings)}"
        time.sleep(0.02)


def asks_to_stop_are_heard(worker: BaseProcess) -> bool:
    """Whether the process catches SIGTERM yet, as Linux says of it."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    caught = int(re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def finish(settings: Settings, port: int, records: int) -> None:
    worker = forked().Process(target=work, args=(settings.home, port))
    worker.start()
    deadline = time.monotonic() + DEADLINE_S
    # The killed workers may have applied everything: then this one is to have begun before it is asked to stop.
    while not (reached(settings, records) and asks_to_stop_are_heard(worker)):
        assert worker.exitcode is None, said(settings)
        assert time.monotonic() < deadline, f"{records} records wanted, progress {read_progress(settings)}:\n{said(settings)}"
        time.sleep(0.05)
    worker.terminate()
    worker.join(30)
    assert worker.exitcode == 0


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("killed")
    random = np.random.default_rng(2024)
    events = small_world(pl.concat([bulk_events(WORLD, part, 4) for part in range(4)]))
    content = messages(events, random)
    with local_broker(folder / "broker") as port:
        settings, lake = empty_platform(folder / "home", port, events)
        saved = killed_at_random(settings, port, random, content)
        finish(settings, port, len(content))
    yield Outcome(settings, lake, events, len(saved))


def test_the_worker_survives_every_kill_and_each_event_is_in_the_lake_once(outcome, record_property):
    said = f"kills survived: {KILLS}, met at {outcome.saves} different saves, {outcome.events.height:,} events"
    record_property(SAID_AT_THE_END, said)
    assert outcome.saves >= KILLS // SAVING_EVERY, "the kills met hardly any work"
    stored = outcome.lake.scan_events().select("event_id").collect()["event_id"]
    assert stored.len() == outcome.events.height
    assert stored.n_unique() == outcome.events.height
    assert list(outcome.lake.root.glob("dead_letters/*")) == []


def test_every_cell_of_every_family_is_the_batch_engines(outcome, tmp_path):
    end_us = int(outcome.events["at"].max()) + 1
    state = StreamState(outcome.settings.paths.stream)
    connection = ibis.duckdb.connect()
    try:
        outcome.events.write_parquet(tmp_path / "events.parquet")
        connection.to_parquet(coded_events(connection.read_parquet(tmp_path / "events.parquet")), tmp_path / "coded.parquet")
        coded = connection.read_parquet(tmp_path / "coded.parquet")
        for family in FAMILIES:
            batch = to_cells(connection.to_pyarrow(coded_cells_as_of(coded, family, end_us)))
            assert_same(state.engine.tables[family.name].cells, batch, family, end_us)
    finally:
        connection.disconnect()
        state.close()


def assert_same(stream: np.ndarray, batch: np.ndarray, family: Family, now_us: int) -> None:
    stream, batch = (cells[np.lexsort([cells["measure"], cells["b"], cells["a"]])] for cells in (stream, batch))
    for name in ("a", "b", "measure", "newest_us", "distinct"):
        np.testing.assert_array_equal(stream[name], batch[name], err_msg=f"{family.name}.{name}")
    counted = stream["measure"] < len(COUNTED)
    np.testing.assert_array_equal(stream["total"][counted], batch["total"][counted], err_msg=family.name)
    np.testing.assert_allclose(stream["total"], batch["total"], rtol=1e-9, err_msg=family.name)
    np.testing.assert_array_equal(sliding_at(stream, now_us), sliding_at(batch, now_us), err_msg=family.name)
    np.testing.assert_allclose(faded_at(stream, now_us), faded_at(batch, now_us), rtol=1e-9, atol=1e-30, err_msg=family.name)


def test_what_is_online_is_the_final_state(outcome):
    state = StreamState(outcome.settings.paths.stream)
    cells = state.engine.tables["user"].cells.copy()
    state.close()
    users = np.unique(cells["a"])[:: len(np.unique(cells["a"])) // 100]
    answer = open_store(outcome.settings).get_online_features(
        ["user_aggregates:packed"], [{"user_id": int(user)} for user in users]
    )
    for user, packed in zip(users, answer.to_dict()["packed"], strict=True):
        expected = cells[cells["a"] == user]
        expected = expected[np.argsort(expected["measure"])]
        expected["shown"] = expected["saved"] = 0
        assert np.frombuffer(packed, CELL).tobytes() == expected.tobytes()


def test_the_late_events_were_within_the_declared_bound():
    assert LATE_US >= 0.8 * 86_400 * 1_000_000
