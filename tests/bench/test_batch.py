"""The bench of the batch engine measures the whole catalogue and leaves nothing behind."""

from __future__ import annotations

from feature_repo.aggregates.families import FAMILY_NAMES
from tests.bench.batch import bench_batch


def test_it_tells_the_seconds_a_million_events_take_and_removes_its_files(tmp_path):
    found = bench_batch(5_000, tmp_path, memory_gb=0.5, threads=1)
    assert found["simulated"] is True
    assert tuple(found["families"]) == FAMILY_NAMES
    assert found["cells"] == sum(one["cells"] for one in found["families"].values()) > found["events"]
    spent = found["code_s"] + sum(one["seconds"] for one in found["families"].values())
    assert abs(found["s_per_million"] - spent / found["events"] * 1e6) < 0.01 * found["s_per_million"]
    assert list(tmp_path.iterdir()) == []
