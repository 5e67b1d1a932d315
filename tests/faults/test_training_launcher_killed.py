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

from flows.training.distributed import train_in_processes
from flows.training.fit_members import fit_members
from flows.training.learned_rows import LearnedRows
from flows.training.recipe import Recipe
from infra.settings import Settings
from services.ranking.members import members_of
from tests.synthetic_rows import synthetic_rows

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {"seed": 7, "threads": 2}
# Few, and still more steps of two epochs of batches of 16 than the 100 after which the first checkpoint is written.
TOGETHER_ROWS, MEMBERS_ROWS = 1_300, 1_500

# Both tell their progress, and are killed towards the end of the heavy ranker's training, after its first checkpoint.
TOGETHER = """
import sys
from pathlib import Path
from flows.training.distributed import train_in_processes
from infra.settings import Settings
from tests.faults.test_training_launcher_killed import OPTIONS, TOGETHER_ROWS
from tests.synthetic_rows import synthetic_rows

home = Path(sys.argv[1])
tell = lambda name, share, loss: print(name, share, flush=True)
train_in_processes(
    Settings(home=home), synthetic_rows(TOGETHER_ROWS, seed=1), home / "b", processes=2, options=OPTIONS, on_progress=tell
)
"""
MEMBERS = """
import sys
from pathlib import Path
from tests.faults.test_training_launcher_killed import fitted_members

fitted_members(Path(sys.argv[1]), 2, lambda name, share, loss: print(name, share, flush=True))
"""


def fitted_members(home: Path, threads: int, on_progress=None):
    """Two members, side by side where there are two threads."""
    learned = LearnedRows.of(synthetic_rows(MEMBERS_ROWS, seed=1), 7)
    targets = learned.rows.labels[learned.fitted.chosen].astype(np.float32)
    return fit_members(learned, targets, Recipe(7, threads, members=2), home / "checkpoints", on_progress)


def killed_late(program: str, home: Path) -> list[psutil.Process]:
    """Run `program` until the heavy ranker is nearly trained, and kill it; the processes that it had started."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as launcher:
        assert launcher.stdout is not None
        for line in launcher.stdout:
            name, share = line.split()
            if name == "heavy" and float(share) > 0.9:
                break
        orphans = psutil.Process(launcher.pid).children(recursive=True)
        launcher.send_signal(signal.SIGKILL)
    return orphans


def all_end(processes: list[psutil.Process]) -> bool:
    """Whether they do, within two minutes."""
    _, alive = psutil.wait_procs(processes, timeout=120)
    return alive == []


def test_orphans_stop_and_the_next_launch_carries_on(tmp_path):
    orphans = killed_late(TOGETHER, tmp_path)
    assert len(orphans) >= 3  # torchrun and its two
    assert all_end(orphans)
    seen = []
    again = {"processes": 2, "options": OPTIONS, "on_progress": lambda *told: seen.append(told)}
    train_in_processes(Settings(home=tmp_path), synthetic_rows(TOGETHER_ROWS, seed=1), tmp_path / "b", **again)
    assert {name for name, _, _ in seen} <= {"heavy"}  # the two towers were finished, and are not done again
    assert all(share > 0.5 for _, share, _ in seen)  # its checkpoint was of step 100, of fewer than 200
    assert [file.name for file in tmp_path.iterdir()] == ["b"]


def test_members_stop_and_the_next_call_carries_on_to_what_an_unbroken_one_comes_to(tmp_path):
    orphans = killed_late(MEMBERS, tmp_path / "killed")
    assert len(orphans) >= 1  # one of the two may have ended already
    assert all_end(orphans)
    seen = []
    heavy, _ = fitted_members(tmp_path / "killed", 2, lambda *told: seen.append(told))
    assert all(share > 0.5 for name, share, _ in seen if name == "heavy")
    assert [file.name for file in (tmp_path / "killed").iterdir()] == ["checkpoints"]  # what the killed one left is gone
    unbroken, _ = fitted_members(tmp_path / "unbroken", 1)
    for one, other in zip(members_of(heavy), members_of(unbroken), strict=True):
        mine, theirs = one.state_dict(), other.state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
