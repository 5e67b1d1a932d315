"""`python -m tests.bench ranker` on tiny sizes: its keys, and that what it times gives the ranker's own logits."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from infra.settings import get_settings
from services.ranking.inputs import OUTPUTS
from tests.bench.commands import bench
from tests.bench.ranker import COMPILED, CONFIG, MOST_ERROR, RIVALS, bench_ranker
from tests.bench.ranker_request import multiplications


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MIXER_HOME", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


@pytest.mark.slow
def test_the_bench_gives_its_keys_and_times_the_very_ranker(home):
    arguments = ["ranker", "--candidates", "60", "--rounds", "3", "--posts", "200", "--threads", "1", "--json"]
    result = CliRunner().invoke(bench, arguments, catch_exceptions=False)
    report = json.loads(result.stdout)
    assert {"candidates_per_s", "candidates_per_s_cold", "gemm_gflops", "achieved_gflops"} <= report.keys()
    assert report["candidates"] == 60
    assert report["alone_differs"] == 0.0
    assert report["torch_differs"] < 1e-5
    deployed = report["deployed"]
    assert deployed["members"] == get_settings().ranker_members
    assert deployed["alone_differs"] == 0.0
    assert min(deployed["candidates_per_s"], deployed["candidates_per_s_cold"]) > 0
    assert min(report["after_others"].values()) > 0
    other, names = report["other"], {"eager", *RIVALS}
    assert names <= other.keys()
    assert {name for name in names if other[name] is None} == other["skipped"].keys()
    assert all(other["skipped"].values()), "a way that is missing says why"
    # A compiler may be missing; what the lock installs is there, and fails only where the ranker cannot be made so any more.
    assert other["skipped"].keys() <= {"torch.compile"}, other["skipped"]
    assert other["errors"].keys() == names - other["skipped"].keys() | {COMPILED}
    assert other["errors"]["eager"] == 0.0
    assert report["best"] in {name for name, error in other["errors"].items() if error <= MOST_ERROR}
    assert other["errors"][COMPILED] < 1e-5
    assert ("gpu" in report) == torch.cuda.is_available()


def test_the_work_of_a_candidate_is_counted_by_hand():
    d, hidden, ffn, tokens, matched = 128, 192, 256, 130, 26  # a user token, 128 exposures and the candidate itself
    by_layer = 3 * d * d + tokens * d + tokens * d + d * d + d * ffn + ffn * d
    assert multiplications(CONFIG) == matched * hidden + hidden * d + 2 * by_layer + (d + hidden) * ffn + ffn * OUTPUTS


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics processor here")
def test_a_graphics_processor_is_measured_too():
    assert bench_ranker(60, 3, 200, 1)["gpu"]["candidates_per_s_warm"] > 0


def test_a_way_that_cannot_be_made_here_is_named_with_its_reason(monkeypatch):
    def unmade(*_):
        raise RuntimeError("no compiler on this machine\nand a long story")

    monkeypatch.setattr("tests.bench.ranker_ways._compiled", unmade)
    monkeypatch.setattr("tests.bench.ranker_ways.find_spec", lambda name: None)
    other = bench_ranker(60, 3, 200, 1)["other"]
    assert other["torch.compile"] is None
    assert other["onnxruntime"] is None
    assert other["skipped"]["torch.compile"] == "RuntimeError: no compiler on this machine"
    assert "onnx and onnxruntime not installed" in other["skipped"]["onnxruntime"]
    assert other["int8"] > 0
