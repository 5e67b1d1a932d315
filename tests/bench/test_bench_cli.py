"""`python -m tests.bench` on tiny sizes: every bench gives its figure, its peer's and the machine's. No time is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import psutil
import pytest
from typer.testing import CliRunner

from infra.settings import get_settings
from tests.bench import broker_to_online, feature_latency, state_update
from tests.bench.commands import bench
from tests.bench.report import measured, shown, tables


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXER_HOME", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def run(*arguments: str) -> dict:
    result = CliRunner().invoke(bench, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_help_names_every_bench_and_loads_nothing_heavy():
    heavy = "{'feast', 'bytewax', 'duckdb', 'ibis', 'polars', 'pandas'}"
    script = f"import sys, tests.bench.commands; print(*sorted({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == ""
    told = CliRunner().invoke(bench, ["--help"]).stdout
    assert all(name in told for name in ("stream", "features", "ranker", "index", "materialize", "batch", "quality"))


def test_a_report_has_the_machine_and_its_tables_the_peer_beside_ours():
    report = measured("small", lambda: {"events_per_s": 1_234_567, "peer": {"events_per_s": 89}, "part": {"p99_ms": 0.5}})
    assert list(report) == ["bench", "events_per_s", "peer", "part", "machine"]
    assert report["machine"]["cores"] >= 1
    assert len(report["machine"]["load_before"]) == len(report["machine"]["load_after"]) == 3
    first, second, third = tables(report)
    assert [list(column.cells) for column in first.columns] == [["events_per_s"], ["1,234,567"], ["89"]]
    assert [list(column.cells) for column in second.columns] == [["p99_ms"], ["0.5"]]
    assert third.title == "machine"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "yes"), (12_345, "12,345"), (0.12345, "0.1235"), (9_876.5, "9,876"), ([1, 2.5], "1, 2.5")],
)
def test_a_figure_is_shown_as_people_read_it(value, text):
    assert shown(value) == text


def test_the_state_update_agrees_with_its_peer_and_gives_both_figures():
    from feature_repo.datasets.world.event_bulk import BulkWorld

    result = state_update.bench_state_update(BulkWorld(12_000), rounds=2, batch=3_000)
    assert {"events_per_s", "events_per_core_s", "updates_per_core_s", "peer", "same_work"} <= result.keys()
    assert result["families"] == 12 and result["peer"]["families"] == ["user", "post"]
    assert result["values_compared"] > 10_000
    with pytest.raises(ValueError, match="need more"):
        state_update.bench_state_update(BulkWorld(12_000), rounds=20, batch=3_000)


@pytest.mark.slow
def test_the_stream_bench_brings_every_event_online_and_gives_all_keys(home):
    report = run("stream", "--events", "10000", "--seconds", "2", "--events-per-s", "1000")
    assert report["bench"] == "stream"
    assert {"events_per_s", "p50_ms", "p99_ms", "peer", "broker_to_online", "event_to_feature", "machine"} <= report.keys()
    assert [one["batch"] for one in report["broker_to_online"]] == list(broker_to_online.BATCHES)
    assert all({"events_per_s", "users_online"} <= one.keys() for one in report["broker_to_online"])
    assert 0 < report["event_to_feature"]["events"] <= 2_000 + feature_latency.WARM_UP_S * 1_000
    assert not list((home / "bench").iterdir())


@pytest.mark.slow
def test_a_terminated_stream_bench_stops_its_broker_and_removes_its_files(tmp_path):
    command = [sys.executable, "-m", "tests.bench", "stream", "--events", "100000"]
    environment = {**os.environ, "MIXER_HOME": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as bench:
        deadline = time.monotonic() + 120
        while not any("noida" in one.name() for one in psutil.Process(bench.pid).children(recursive=True)):
            assert bench.poll() is None and time.monotonic() < deadline, "the bench started no broker"
            time.sleep(0.1)
        started = psutil.Process(bench.pid).children(recursive=True)
        bench.terminate()
        assert bench.wait(timeout=60) == 143
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in started)
    assert not list((tmp_path / "bench").iterdir())


@pytest.mark.slow
def test_the_batch_bench_gives_seconds_for_a_million_events(home):
    report = run("batch", "--events", "2000", "--memory-gb", "1")
    assert {"s_per_million", "events_per_s", "families", "peak_memory_gb"} <= report.keys()


@pytest.mark.slow
def test_the_quality_bench_fits_what_is_asked_and_keeps_its_tables(home, tmp_path):
    from feature_repo.datasets.search_path import find_kuairand
    from infra.settings import Settings

    if find_kuairand(Settings()) is None:
        pytest.skip("KuaiRand is not on this machine")
    report = run("quality", "--user-share", "0.02", "--seeds", "1", "--draws", "2", "--only", "popularity")
    assert list(report["models"]) == ["popularity"] and "--only" in report["not_run"]["champion"]
    kept = home / "reports" / "quality"
    assert json.loads((kept / "quality.json").read_text())["models"] == report["models"]
    assert "| popularity |" in (kept / "quality.md").read_text()
    assert not list((home / "bench").iterdir())
