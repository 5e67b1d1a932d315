"""The bench of training rows runs both ways on an ingested lake, and leaves nothing behind."""

from __future__ import annotations

import gc
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from feature_repo.datasets.splits import Splits
from flows.steps.lakes import NothingIngested
from infra.settings import Settings
from tests.bench.rows import bench_rows, memory_peak
from tests.small_events import FIRST_DAY, small_lake


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(home=tmp_path / "home")


def test_both_ways_gather_the_same_batches_and_tell_rates_and_memory(settings, tmp_path):
    lake = small_lake(settings.paths.lake)
    days = lake.event_days()
    splits = Splits.of_days(FIRST_DAY, days[-2:-1], days[-1:], lake.day_offset)
    marker = {"label": "small", "day_offset_s": 0, "hold_out": True, "splits": splits.as_json()}
    lake.mark("dataset", marker)
    (tmp_path / "scratch").mkdir()
    found = bench_rows(settings, tmp_path / "scratch", batches=5)
    figures = {"known_s", "build_rows_per_cpu_s", "batch_rows_per_cpu_s", "build_memory_mb", "batch_memory_mb"}
    assert found.keys() == {"dataset", "rows", "batch", "threads", "peer"} | figures
    assert found["peer"].keys() == figures
    assert found["dataset"] == "small"
    assert found["rows"] > 0


def test_it_needs_a_lake_and_says_how_to_get_one(settings, tmp_path):
    with pytest.raises(NothingIngested, match="mixer run ingest"):
        bench_rows(settings, tmp_path, batches=5)


def test_memory_that_a_block_takes_is_seen_whatever_garbage_was_left_before():
    # In a process of its own, as the bench measures: what other tests held may be given back meanwhile.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        most_mb = process.submit(_seen_of_64_mb).result()
    assert most_mb is None or most_mb > 60


def _seen_of_64_mb() -> float | None:
    """The peak seen over a block that collects garbage of 128 MB and takes 64 MB."""
    with memory_peak():
        pass  # imports collect garbage too
    circle: list[object] = [b"x" * (128 << 20)]
    circle.append(circle)
    del circle
    with memory_peak() as peak:
        gc.collect()
        held = bytearray(64 << 20)
        held[::4_096] = b"x" * len(held[::4_096])
    return peak.most_mb
