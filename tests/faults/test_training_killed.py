"""A training that is killed outright (SIGKILL) at any step comes to the very losses and weights of an undisturbed one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.training.checkpoints import NEWEST

pytestmark = pytest.mark.slow

# Steps done by the process that dies, by where it dies: before the first checkpoint, right after one, in the middle of an
# epoch, in the second epoch; and while the first, or a later, checkpoint is being written.
KILLS = [("3", "loss"), ("0", "checkpoint"), ("5", "loss"), ("4", "loss"), ("1", "checkpoint"), ("6", "loss"), ("2", "loss")]


def train(folder: Path, kill_at: str = "0", where: str = "nowhere") -> int:
    command = [sys.executable, "-m", "tests.toy_training", str(folder), kill_at, where]
    done = subprocess.run(command, capture_output=True, timeout=300, cwd=Path(__file__).resolve().parents[2])
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


def outcome(folder: Path) -> dict:
    return json.loads((folder / "toy.json").read_text())


def test_killed_seven_times_and_resumed_it_is_the_same_training_bit_for_bit(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    assert train(whole) == 0
    for kill_at, where in KILLS:
        assert train(killed, kill_at, where) == -signal.SIGKILL
        assert not (killed / "toy.json").exists()
    assert (killed / "toy" / NEWEST).exists()  # the last run goes on, it does not begin
    assert train(killed) == 0
    assert len(outcome(whole)["curve"]) == 26
    assert outcome(killed) == outcome(whole)
