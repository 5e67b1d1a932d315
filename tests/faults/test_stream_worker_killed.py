"""The stream worker under SIGKILL, on a real broker: nothing lost, nothing applied twice, batch and stream agree."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from confluent_kafka import Producer

from feature_repo.aggregates.batch import write_states
from feature_repo.aggregates.ranking_projection import ranking_states
from feature_repo.aggregates.ranking_state import Key
from feature_repo.aggregates.stream_events import text_hashes
from feature_repo.aggregates.stream_output import read_progress
from feature_repo.aggregates.stream_parts import stream_parts
from feature_repo.aggregates.stream_seed import WorkerRunning, seed_stream_state
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.blocks import user_block
from feature_repo.broker_topics import EVENTS_TOPIC
from feature_repo.event_log import read_events, read_table
from feature_repo.exposures import exposure_log
from feature_repo.feature_store import apply, build_offline, materialise
from feature_repo.history import histories_as_of
from feature_repo.lake import Lake
from feature_repo.online import OnlineFeatures
from feature_repo.profiles import user_profiles
from feature_repo.snapshot import load_snapshot
from feature_repo.state_tables import read_state_table
from infra.settings import Settings
from tests.local_broker import LocalBroker
from tests.small_events import START, small_events, small_lake

pytestmark = pytest.mark.slow

CUT = START + timedelta(days=2)
DEADLINE_S = 120.0
ROOT = Path(__file__).resolve().parents[2]
END = pl.Series([START + timedelta(days=30)]).dt.epoch("us").item()


@contextmanager
def worker(settings: Settings, log: Path) -> Iterator[subprocess.Popen]:
    environment = {**os.environ, **settings.child_environment(), "MIXER_BROKER_PORT": str(settings.broker_port)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "feature_repo.aggregates.stream_worker"],
            env=environment,
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=15)


def wait_until(settings: Settings, process: subprocess.Popen, holds: Callable[[dict], bool], log: Path) -> dict:
    """Poll the worker's progress until `holds`; fails with the worker's log when it dies or the deadline passes."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        progress = read_progress(settings)
        if progress is not None and holds(progress):
            return progress
        assert process.poll() is None, f"worker ended with {process.returncode}:\n{log.read_text()}"
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE_S:.0f} s; progress {read_progress(settings)}:\n{log.read_text()}")


def produce(settings: Settings, events: pl.DataFrame, *extra: bytes) -> int:
    """Send events as JSON, ISO and integer times in turn; returns the messages sent."""
    producer = Producer({"bootstrap.servers": settings.broker, "enable.idempotence": True})
    for number, row in enumerate(events.iter_rows(named=True)):
        moment = row["occurred_at"]
        row["occurred_at"] = moment.isoformat() if number % 2 else round(moment.timestamp() * 1e6)
        producer.produce(EVENTS_TOPIC, orjson.dumps(row), key=str(row["user_id"]))
    for message in extra:
        producer.produce(EVENTS_TOPIC, message)
    assert producer.flush(30) == 0
    return events.height + len(extra)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> Iterator[tuple[Settings, Lake, pl.DataFrame, dict]]:
    """Two days seeded from the batch engine, two streamed; the worker is killed in the middle and started again, and so is the
    broker, which loses the end of its log."""
    folder = tmp_path_factory.mktemp("stream")
    log = folder / "worker.log"
    events = small_events(600, seed=21).sort("occurred_at", pl.col("action") != "impression", "event_id")
    past, coming = events.filter(pl.col("occurred_at") < CUT), events.filter(pl.col("occurred_at") >= CUT)
    broker = LocalBroker(folder / "broker")
    broker.start()
    with closing(broker):
        settings = Settings(home=folder / "home", broker_port=broker.port)
        lake = small_lake(settings.paths.lake, past)
        apply(settings)
        build_offline(settings, [lake], CUT - timedelta(microseconds=1))
        materialise(settings, CUT)
        seeded = seed_stream_state(settings, CUT)
        assert seeded["later_events"] == 0
        half = coming.height // 2
        with worker(settings, log) as first:
            sent = produce(settings, coming.head(half), b"garbage")
            wait_until(settings, first, lambda progress: progress["offsets"].get("0") == sent, log)
            with pytest.raises(WorkerRunning):
                seed_stream_state(settings, CUT)
            sent += produce(settings, coming.slice(half - 20, 60))  # 20 of them for the second time
            first.send_signal(signal.SIGKILL)
            first.wait(timeout=15)
        with worker(settings, log) as second:
            third = (coming.height - half - 40) // 3
            sent += produce(settings, coming.slice(half + 40, third))
            wait_until(settings, second, lambda progress: progress["offsets"].get("0") == sent, log)
            broker.end()
            shutil.copytree(folder / "broker", folder / "kept")
            broker.start()
            lost = coming.slice(half + 40 + third, third)
            sent += produce(settings, lost)
            wait_until(settings, second, lambda progress: progress["offsets"].get("0") == sent, log)
            broker.end(signal.SIGKILL)
            shutil.rmtree(folder / "broker")
            (folder / "kept").rename(folder / "broker")
            broker.start()
            # Who sent them sends again what may be lost, here after others: the log is soon as long as it was.
            sent += produce(settings, coming.slice(half + 40 + 2 * third))
            produce(settings, lost)
            newest = coming["occurred_at"].dt.epoch("us").max()
            wait_until(settings, second, lambda progress: progress["offsets"].get("0") == sent, log)
            sent += produce(settings, coming.tail(40))  # a batch of repeats and nothing else
            done = wait_until(settings, second, lambda progress: progress["offsets"].get("0") == sent, log)
            wait_until(settings, second, lambda progress: str(progress["snapshot"]).startswith(f"{newest + 1}-"), log)
            fresh = read_progress(settings)["snapshot"]
            materialise(settings, CUT)  # sets every online value back by two days; the worker must write its own again
            wait_until(settings, second, lambda progress: progress["snapshot"] != fresh, log)
            second.send_signal(signal.SIGTERM)
            assert second.wait(timeout=30) == 0, log.read_text()
        yield settings, lake, events, done


def test_every_event_is_in_the_lake_exactly_once(outcome):
    _, lake, events, progress = outcome
    stored = lake.scan_events().select("event_id").collect()["event_id"].to_list()
    assert sorted(stored) == sorted(events["event_id"].to_list())
    assert progress["applied"] == events.filter(pl.col("occurred_at") >= CUT).height


def test_the_bad_message_is_a_dead_letter_with_its_reason(outcome):
    settings, _, _, _ = outcome
    letters = pl.read_parquet(settings.paths.lake / "dead_letters" / "*.parquet")
    # Again whenever the broker was away: what is read again and can't be read has no id to know it by.
    assert letters["message"].unique().to_list() == ["garbage"]
    assert letters["reason"][0].startswith("not JSON")


@pytest.mark.parametrize("key", list(Key))
def test_the_streamed_state_is_the_batch_state(outcome, tmp_path, key):
    settings, lake, _, _ = outcome
    write_states(read_events([lake]), tmp_path, (key,))
    ids, expected = read_state_table(tmp_path, key).latest()
    state = StreamState(settings.paths.stream)
    held = ranking_states(state.engine.tables[key.value], ids)
    state.close()
    assert held.updated_at.tolist() == expected.updated_at.tolist()
    np.testing.assert_allclose(held.state, expected.state, rtol=1e-5, atol=1e-5)


def test_what_is_online_is_what_the_batch_engine_would_have_put_there(outcome, tmp_path):
    settings, lake, _, _ = outcome
    events = read_events([lake])
    write_states(events, tmp_path, (Key.USER,))
    table, log = read_state_table(tmp_path, Key.USER), exposure_log(events)
    profiles = user_profiles(read_table([lake], "users"))
    online = OnlineFeatures(settings)
    for user_id in range(12):
        question = (np.array([user_id]), np.array([END]))
        served = online.user(user_id, END)
        expected = user_block(table.as_of(*question), profiles[user_id : user_id + 1], END)
        np.testing.assert_allclose(served.user, expected, rtol=1e-5, atol=1e-5)
        history = histories_as_of(log, *question)
        for name in history.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(served.history, name), getattr(history, name), err_msg=name)


def test_the_published_snapshot_holds_the_newest_states(outcome, tmp_path):
    settings, lake, _, _ = outcome
    snapshot = load_snapshot(settings)
    events = read_events([lake])
    write_states(events, tmp_path, (Key.POST, Key.TOPIC))
    assert snapshot.as_of_us == events["at"].max() + 1
    for key, ids in ((Key.POST, snapshot.post_id), (Key.TOPIC, snapshot.topic)):
        table = read_state_table(tmp_path, key)
        expected = table.as_of(ids.astype(np.int64), np.full(len(snapshot), END))
        np.testing.assert_allclose(snapshot.states[key.value].state, expected.state, rtol=1e-5, atol=1e-5)


def test_a_lost_state_is_rebuilt_from_the_lake_and_applies_nothing_again(outcome):
    settings, lake, events, progress = outcome
    for file in settings.paths.stream.glob("*"):
        file.rename(settings.paths.stream.parent / f"lost-{file.name}")
    seeded = seed_stream_state(settings, CUT)
    assert seeded["later_events"] == events.filter(pl.col("occurred_at") >= CUT).height
    state = StreamState(settings.paths.stream)
    assert state.offsets() == {0: max(last for *_, last in stream_parts(lake)) + 1}
    assert state.offsets()[0] <= progress["offsets"]["0"]
    streamed = events.filter(pl.col("occurred_at") >= CUT)
    fresh = state.ids.add(text_hashes(streamed["event_id"]), streamed["occurred_at"].dt.epoch("us").to_numpy())
    assert not fresh.any()
    state.close()
