"""A training that is killed outright (SIGKILL) at any step comes to the very losses and weights of an undisturbed one."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from flows.training.checkpoints import NEWEST, unpacked
from tests.toy_training import ToySpecification
from tests.trained_apart import outcome, train_apart

pytestmark = pytest.mark.slow

# Steps or checkpoints that the process lives through, and where it dies: before the first checkpoint, while the first is
# being written, right after one, in the middle of an epoch, while a later one is written, in the second epoch.
KILLS = [(3, "loss"), (0, "checkpoint"), (5, "loss"), (4, "loss"), (1, "checkpoint"), (6, "loss"), (2, "loss")]


def test_killed_seven_times_and_resumed_it_is_the_same_training_bit_for_bit(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert train_apart(whole, ToySpecification("toy")).returncode == 0
    for steps, where in KILLS:
        died = train_apart(killed, ToySpecification("toy", dies=steps, at=where))
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert not (killed / "toy.json").exists()
    assert (killed / "toy" / NEWEST).exists()  # the last run goes on, it does not begin
    assert train_apart(killed, ToySpecification("toy")).returncode == 0
    assert len(outcome(whole, "toy")["curve"]) == 26
    assert {**outcome(killed, "toy"), "told": 0} == {**outcome(whole, "toy"), "told": 0}


def test_a_training_that_stops_early_remembers_through_a_kill_when_it_was_best(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    early = {"name": "toy", "patience": 2}
    assert train_apart(whole, ToySpecification(**early)).returncode == 0
    best_step, steps = outcome(whole, "toy")["best_step"], len(outcome(whole, "toy")["curve"])
    assert best_step < steps - 1
    died = train_apart(killed, ToySpecification(**early, dies=steps - 1))
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert len(unpacked((killed / "toy" / NEWEST).read_bytes())["curve"]) >= best_step  # the best lay behind it
    assert train_apart(killed, ToySpecification(**early)).returncode == 0
    assert {**outcome(killed, "toy"), "told": 0} == {**outcome(whole, "toy"), "told": 0}


@pytest.fixture(scope="module")
def whole_together(tmp_path_factory) -> Path:
    """The folder of what two undisturbed processes came to."""
    folder = tmp_path_factory.mktemp("together") / "whole"
    assert train_apart(folder, ToySpecification("toy"), processes=2).returncode == 0
    return folder


@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_of_which_one_is_killed_resume_bit_for_bit(whole_together, tmp_path, rank):
    # One of the two kills hits processes that torchrun started from a command line, and all else is forked.
    died = train_apart(tmp_path, ToySpecification("toy", dies=12, rank=rank), processes=2, started=rank == 0)
    assert died.returncode != 0
    assert "SIGKILL" in died.stderr
    assert train_apart(tmp_path, ToySpecification("toy"), processes=2).returncode == 0
    for name in ("toy", "toy-1"):
        assert {**outcome(tmp_path, name), "told": 0} == {**outcome(whole_together, name), "told": 0}


def test_what_two_processes_began_one_can_end(tmp_path):
    plain = {"name": "toy", "dropout": 0.0}
    assert train_apart(tmp_path / "whole", ToySpecification(**plain)).returncode == 0
    assert train_apart(tmp_path / "killed", ToySpecification(**plain, dies=12), processes=2).returncode != 0
    assert train_apart(tmp_path / "killed", ToySpecification(**plain)).returncode == 0
    ended, whole = (outcome(tmp_path / name, "toy") for name in ("killed", "whole"))
    np.testing.assert_allclose(ended["curve"], whole["curve"], atol=1e-5)
    np.testing.assert_allclose(ended["weights"], whole["weights"], atol=1e-5)
