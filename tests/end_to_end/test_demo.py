"""The main job on a small simulated world: killed at three stages, carried on, and every claim of its summary checked.

Real servers throughout: Prefect and its worker, the broker, the gateway, BentoML mixers, MLflow, Evidently.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.settings import Settings
from infra.supervisor import Supervisor
from tests.free_ports import free_range
from tests.interruptible import hear_interrupts

pytestmark = pytest.mark.slow

LIMIT_S = 1_200  # only ends a run that would hang
MIXER = str(Path(sys.executable).parent / "mixer")
# One kill each by Ctrl-C, by SIGTERM's harder brother, and by Ctrl-C again while the canary's traffic flows.
KILLS = (("features", signal.SIGINT), ("replay", signal.SIGKILL), ("canary", signal.SIGINT))


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo") / "var"


@pytest.fixture(scope="module")
def environment(home) -> dict[str, str]:
    first = free_range(20)
    # Prefect's workers answer on the two ports beside the server's.
    places = {"GATEWAY": 0, "PREFECT": 1, "MLFLOW": 4, "EVIDENTLY": 5, "BROKER": 6}
    chosen = {f"MIXER_{name}_PORT": str(first + place) for name, place in places.items()}
    # Users enough for two canaries, of which each meets one; a rarer second head that decides would need more of them.
    world = {"MIXER_DATASET": "world", "MIXER_WORLD_USERS": "1100", "MIXER_WORLD_POSTS": "800"}
    world["MIXER_DECIDING_HEADS"] = "click"
    return {**os.environ, **chosen, **world, "MIXER_HOME": str(home), "MIXER_MIXER_BASE_PORT": str(first + 7)}


def _start(environment: dict[str, str], log: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [MIXER, "demo", "--quick", "--until", "bad_release", "--down"],
        env=environment,
        stdout=log.open("ab"),
        stderr=subprocess.STDOUT,
        preexec_fn=hear_interrupts,
    )


def _await_line(log: Path, process: subprocess.Popen, text: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while text not in (log.read_text() if log.exists() else ""):
        assert process.poll() is None, f"the demo ended before {text!r}:\n{log.read_text()[-3000:]}"
        assert time.monotonic() < deadline, f"no {text!r} within {LIMIT_S} s:\n{log.read_text()[-3000:]}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def summary(home, environment, tmp_path_factory) -> dict:
    """The summary of one run that was killed at three stages and carried on each time."""
    logs = tmp_path_factory.mktemp("logs")
    try:
        for stage, number in KILLS:
            log = logs / f"{stage}.log"
            process = _start(environment, log)
            _await_line(log, process, f"▸ {TITLES[stage]}")
            process.send_signal(number)
            code = process.wait(timeout=120)
            assert code == (130 if number == signal.SIGINT else -signal.SIGKILL)
        log = logs / "last.log"
        process = _start(environment, log)
        assert process.wait(timeout=LIMIT_S) == 0, log.read_text()[-4000:]
        return json.loads((home / "runs" / "run-001" / "summary.json").read_text())
    finally:
        settings = Settings(home=home)
        Supervisor(settings).stop_all()


TITLES = {"features": "features", "replay": "replay as live traffic", "canary": "challenger's canary"}


def test_a_killed_run_is_carried_on_and_not_begun_anew(summary, home):
    assert [folder.name for folder in sorted((home / "runs").glob("run-*"))] == ["run-001"]
    assert summary["ingest"]["skipped"] is False


def test_every_figure_of_a_simulated_world_says_so(summary):
    assert summary["dataset"]["simulated"] is True
    assert "simulated" in summary["dataset"]["label"]


def test_models_are_compared_with_a_baseline_on_the_same_rows(summary):
    """The longer tours' plans add LightGBM: see test_plan."""
    assert set(summary["train"]["metrics"]) == {"popularity", "heavy ranker"}
    for heads in summary["train"]["metrics"].values():
        assert 0.4 < heads["click"]["auc"] < 1.0


def test_replayed_traffic_was_served_without_errors_and_reached_the_lake(summary):
    assert summary["replay"]["requests"] > 100
    assert summary["replay"]["errors"] == 0
    assert set(summary["replay"]["by_release"]) == {"r1"}


def test_the_planted_fault_was_caught_and_an_automation_retrained(summary):
    fault = summary["fault"]
    assert fault["verdict"] == "retrain"
    assert fault["planted"]
    assert fault["flow_run"]["state"] == "Completed"
    assert "home-mixer.drift.retrain" in fault["flow_run"]["created_by"]
    assert fault["challenger"] != summary["train"]["model_version"]


def test_the_challenger_went_live_through_canary_and_a_named_approval(summary):
    states = [step["state"] for step in summary["canary"]["history"]]
    assert states[:7] == ["built", "canary", "canary", "canary", "canary", "awaiting_approval", "live"]
    assert summary["canary"]["verdict"]["decision"] == "promote"
    assert summary["canary"]["history"][6]["who"] == "demo (standing in for a person)"
    assert summary["live_release"]["release"] == summary["canary"]["release"]


def test_the_bad_release_was_rolled_back_by_the_judge_alone(summary):
    history = summary["bad_release"]["history"]
    assert history[-1]["state"] == "rolled_back"
    assert history[-1]["who"] == "judge"
    assert summary["bad_release"]["verdict"]["decision"] == "rollback"
    assert summary["ledger"]["verified"] is True


def test_the_timeline_at_the_end_is_full_and_explained(summary):
    posts = summary["timeline"]["posts"]
    assert len(posts) == 10
    assert all(post["reason"] for post in posts)
    assert posts[0]["explanation"]


def test_nothing_is_left_running(summary, home):
    left = [
        process.pid
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("MIXER_HOME") == str(home)
    ]
    assert left == []
