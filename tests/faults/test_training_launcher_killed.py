"""Training processes whose launcher is killed outright stop by themselves, and the next launch carries on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from flows.training import distributed
from flows.training import fit_members as members_module
from flows.training.distributed import train_in_processes
from flows.training.fit_members import fit_members
from flows.training.learned_rows import LearnedRows
from flows.training.recipe import Recipe
from infra.settings import Settings
from services.ranking.members import members_of
from tests.forked_commands import ForkedCommand, fork_commands
from tests.short_training import keep_checkpoints_often, shorten_training
from tests.synthetic_rows import synthetic_rows

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
# Few rows, and still more steps of two epochs of batches of 16 than come before the first checkpoint: 20 of those that train
# together, 100 of a member.
TOGETHER_ROWS, MEMBERS_ROWS = 500, 1_500

# Both tell their progress, and are killed towards the end of the heavy ranker's training, after its first checkpoint. Those
# that train together are forked, launcher included; members and their launcher are started as on a command line.
TOGETHER = """
import sys
from pathlib import Path
from tests.faults.test_training_launcher_killed import trained_together

trained_together(Path(sys.argv[1]), lambda name, share, loss: print(name, share, flush=True))
"""
MEMBERS = """
import sys
from pathlib import Path
from tests.faults.test_training_launcher_killed import fitted_members

fitted_members(Path(sys.argv[1]), 2, lambda name, share, loss: print(name, share, flush=True))
"""


def short_training(patch: pytest.MonkeyPatch) -> None:
    shorten_training(patch)
    keep_checkpoints_often(patch)


def trained_together(home: Path, on_progress) -> None:
    """A bundle, by two processes."""
    told = {"processes": 2, "options": {"seed": 7, "threads": 2}, "on_progress": on_progress}
    with pytest.MonkeyPatch.context() as patch:
        fork_commands(patch, distributed, short_training)
        train_in_processes(Settings(home=home), synthetic_rows(TOGETHER_ROWS, seed=1), home / "b", **told)


def fitted_members(home: Path, threads: int, on_progress=None):
    """Two members, side by side where there are two threads."""
    learned = LearnedRows.of(synthetic_rows(MEMBERS_ROWS, seed=1), 7)
    targets = learned.rows.labels[learned.fitted.chosen].astype(np.float32)
    how = Recipe(7, threads, members=2)
    return fit_members(learned, targets, how, home / "checkpoints", on_progress)


def killed_late(launcher: subprocess.Popen | ForkedCommand) -> list[psutil.Process]:
    """Kill it when the heavy ranker is nearly trained; the processes that it had started."""
    with launcher:
        assert launcher.stdout is not None
        for line in launcher.stdout:
            name, share = line.split()
            if name == "heavy" and float(share) > 0.8:  # it will tell its progress once more, to nobody
                break
        orphans = started_by(launcher)
        launcher.send_signal(signal.SIGKILL)
    assert launcher.returncode == -signal.SIGKILL
    return orphans


def started_by(launcher: subprocess.Popen | ForkedCommand) -> list[psutil.Process]:
    """Its descendants; of a forked one, what else was forked, as nothing but the launcher asks for it meanwhile."""
    process = psutil.Process(launcher.pid)
    if isinstance(launcher, ForkedCommand):
        return [other for other in process.parent().children() if other != process]
    return process.children(recursive=True)


def all_end(processes: list[psutil.Process]) -> bool:
    """Whether they do, within two minutes."""
    _, alive = psutil.wait_procs(processes, timeout=120)
    return alive == []


def test_orphans_stop_and_the_next_launch_carries_on(tmp_path):
    orphans = killed_late(ForkedCommand([sys.executable, "-c", TOGETHER, str(tmp_path)], stdout=subprocess.PIPE))
    assert len(orphans) >= 3  # torchrun and its two
    assert all_end(orphans)
    seen = []
    trained_together(tmp_path, lambda *told: seen.append(told))
    assert {name for name, _, _ in seen} <= {"heavy"}  # the two towers were finished, and are not done again
    assert all(share > 0.5 for _, share, _ in seen)  # its newest checkpoint was of a step in the second half
    assert [file.name for file in tmp_path.iterdir()] == ["b"]


def test_members_stop_and_the_next_call_carries_on_to_what_an_unbroken_one_comes_to(tmp_path, monkeypatch):
    command = [sys.executable, "-c", MEMBERS, str(tmp_path / "killed")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    orphans = killed_late(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment))
    assert len(orphans) >= 1  # one of the two may have ended already
    assert all_end(orphans)
    seen = []
    fork_commands(monkeypatch, members_module)
    heavy, _ = fitted_members(tmp_path / "killed", 2, lambda *told: seen.append(told))
    assert all(share > 0.5 for name, share, _ in seen if name == "heavy")
    assert [file.name for file in (tmp_path / "killed").iterdir()] == ["checkpoints"]  # what the killed one left is gone
    unbroken, _ = fitted_members(tmp_path / "unbroken", 1)
    for one, other in zip(members_of(heavy), members_of(unbroken), strict=True):
        mine, theirs = one.state_dict(), other.state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
