"""Trainings in processes of their own: one, or several that torchrun starts; forked, or started as on a command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from flows.training.torchrun import torchrun_command, torchrun_environment
from tests.forked_commands import ForkedCommand
from tests.toy_training import ToySpecification

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 600


def train_apart(
    folder: Path, *specifications: ToySpecification, processes: int = 1, started: bool = False
) -> subprocess.CompletedProcess:
    """Run the toy's program to its end, or to its death."""
    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps([asdict(specification) for specification in specifications])
    return run_apart("tests.toy_training", str(folder), told, processes=processes, started=started)


def run_apart(
    program: str, folder: str, *arguments: str, processes: int = 1, started: bool = False
) -> subprocess.CompletedProcess:
    """Run a module as a program, in one process or in several that torchrun starts; its first argument is its folder.

    `started` as on a command line, which takes seconds of imports in every process, or else forked.
    """
    alone = [sys.executable, "-m", program, folder, *arguments]
    command = alone if processes == 1 else torchrun_command(processes, Path(folder), program, folder, *arguments)
    environment = {**os.environ, **torchrun_environment(), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if started:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT, env=environment)
    said = Path(folder).with_name(f"{Path(folder).name}.errors")
    with said.open("w") as errors, ForkedCommand(command, env=environment, stdout=errors, stderr=errors) as process:
        ended = process.wait(TIMEOUT_S)
    return subprocess.CompletedProcess(command, ended, stderr=said.read_text())


def outcome(folder: Path, name: str) -> dict:
    """What a training of that name came to; of a process other than the first, `name`-RANK."""
    return json.loads((folder / f"{name}.json").read_text())
