"""The bench of training rows runs both ways on an ingested lake, and leaves nothing behind."""

from __future__ import annotations

import pytest

from feature_repo.datasets.splits import Splits
from flows.bench.rows import bench_rows, memory_peak
from flows.lakes import NothingIngested
from infra.settings import Settings
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


def test_memory_that_a_block_takes_is_seen():
    with memory_peak() as peak:
        held = bytearray(64 << 20)
        held[::4_096] = b"x" * len(held[::4_096])
    assert peak.most_mb is None or peak.most_mb > 60
