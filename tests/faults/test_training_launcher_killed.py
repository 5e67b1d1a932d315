"""Training processes whose launcher is killed outright stop by themselves, and the next launch carries on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.training.distributed import train_in_processes
from infra.settings import Settings
from tests.synthetic_rows import synthetic_rows

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {"seed": 7, "threads": 2}

# Tells its progress, and is killed towards the end of the heavy ranker's training, after its first checkpoint.
LAUNCHER = """
import sys
from pathlib import Path
from flows.training.distributed import train_in_processes
from infra.settings import Settings
from tests.synthetic_rows import synthetic_rows

home = Path(sys.argv[1])
tell = lambda name, share, loss: print(name, share, flush=True)
train_in_processes(
    Settings(home=home), synthetic_rows(2_000, seed=1), home / "b", processes=2, options={"seed": 7, "threads": 2},
    on_progress=tell,
)
"""


def test_orphans_stop_and_the_next_launch_carries_on(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LAUNCHER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as launcher:
        assert launcher.stdout is not None
        for line in launcher.stdout:
            name, share = line.split()
            if name == "heavy" and float(share) > 0.9:
                break
        orphans = psutil.Process(launcher.pid).children(recursive=True)
        assert len(orphans) >= 3  # torchrun and its two
        launcher.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(orphans, timeout=120)
    assert alive == []
    seen = []
    again = {"processes": 2, "options": OPTIONS, "on_progress": lambda *told: seen.append(told)}
    train_in_processes(Settings(home=tmp_path), synthetic_rows(2_000, seed=1), tmp_path / "b", **again)
    assert {name for name, _, _ in seen} <= {"heavy"}  # the two towers were finished, and are not done again
    assert all(share > 0.5 for _, share, _ in seen)  # its checkpoint was of step 100, of fewer than 200
    assert [file.name for file in tmp_path.iterdir()] == ["b"]
