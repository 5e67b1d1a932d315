"""The tour, shortened, on logs that nobody tuned anything to: each ends with a timeline, and a verdict or a named reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.demo.run_folder import Outcome
from tests.end_to_end.shapes import ALL_STAGES, EXAMPLE_SHAPES, SHAPES
from tests.end_to_end.short_tours import run_side_by_side

pytestmark = pytest.mark.slow

LIMIT_S = 1_500  # only ends a run that would hang
SOUND = {"ok", "warn"}  # verdicts on logs in which nothing was planted


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Iterator[Path]:
    """The folder in which every shape was toured, side by side."""
    root = tmp_path_factory.mktemp("shapes")
    process = run_side_by_side(root, [shape.name for shape in (*SHAPES, *EXAMPLE_SHAPES)])
    try:
        assert process.wait(timeout=LIMIT_S) == 0, (root / "all.log").read_text()[-4000:]
        yield root
    finally:
        process.terminate()
        process.wait(timeout=60)


def outcomes_of(root: Path, name: str) -> dict[str, Outcome]:
    """What became of each stage of a shape's tour; a stage that failed is shown with the end of its log."""
    log = (root / name / "tour.log").read_text()
    file = root / name / "var" / "runs" / "run-001" / "stages.json"
    assert file.exists(), log[-4000:]
    found = {stage: Outcome(**entry) for stage, entry in json.loads(file.read_text()).items()}
    failed = {stage: outcome.reason for stage, outcome in found.items() if outcome.state == "failed"}
    assert not failed, f"{failed}\n{log[-4000:]}"
    return found


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_log_of_any_shape_gets_a_timeline_and_a_verdict_or_a_named_reason(root, shape):
    found = outcomes_of(root, shape.name)
    assert set(found) == set(ALL_STAGES)
    assert found["release"].output["state"] == "live"
    assert found["pages"].output["timeline"]["posts"]
    assert found["replay"].output["requests"] > 0
    assert found["replay"].output["errors"] == 0
    drift, canary = found["drift"], found["bad_release"]
    if shape.drift_judged:
        assert drift.output["verdict"] in SOUND, drift.output["reasons"]
    else:
        assert "too few rows to decide" in drift.reason
    assert "too few users for a canary" in canary.reason


@pytest.mark.parametrize("name", [shape.name for shape in EXAMPLE_SHAPES])
def test_an_example_of_the_docs_gets_a_timeline(root, name):
    found = outcomes_of(root, name)
    assert found["release"].output["state"] == "live"
    assert found["pages"].output["timeline"]["posts"]


def test_a_timeline_has_its_owners_ids(root):
    posts = outcomes_of(root, "news")["pages"].output["timeline"]["posts"]
    assert {post["post_id"][0] for post in posts} == {"N"}
    assert {post["author_id"].partition("-")[0] for post in posts} == {"desk"}


def test_an_action_of_ones_own_is_predicted_by_its_name(root):
    posts = outcomes_of(root, "music")["pages"].output["timeline"]["posts"]
    assert all("play" in post["predictions"] for post in posts)


def test_rows_of_a_wrong_clock_are_set_aside_and_move_no_split(root):
    report = outcomes_of(root, "microblog")["ingest"].output
    assert sum(report["malformed_by_reason"].values()) == 3
    assert "2106" not in json.dumps(report["splits"])


def test_what_was_derived_is_said(root):
    for name in ("shop", "music"):
        notes = " ".join(outcomes_of(root, name)["ingest"].output["notes"])
        assert "Calibration, rates per impression and off-policy estimates can't be judged." in notes
        assert "were sampled beside each derived impression" in notes


def test_days_of_1997_are_days_like_others(root):
    assert outcomes_of(root, "ratings of 1997")["features"].output["as_of"].startswith("1997-09-2")


def test_a_log_of_one_day_is_parted_by_its_hours(root):
    splits = outcomes_of(root, "one day")["ingest"].output["splits"]
    assert len({moment[:10] for moment in splits.values() if isinstance(moment, str)}) == 1
