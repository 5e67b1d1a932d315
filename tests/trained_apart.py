"""Trainings in processes of their own: one that is forked, or several that torchrun starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from flows.training.torchrun import torchrun_command, torchrun_environment
from tests import toy_training
from tests.forked import forked
from tests.toy_training import ToySpecification

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 600


def train_apart(folder: Path, *specifications: ToySpecification, processes: int = 1) -> subprocess.CompletedProcess:
    """Run the toy's program to its end, or to its death."""
    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps([asdict(specification) for specification in specifications])
    if processes > 1:
        return run_apart("tests.toy_training", str(folder), told, processes=processes)
    errors = folder.with_name(f"{folder.name}.errors")
    process = forked().Process(target=_train, args=(errors, str(folder), told))
    process.start()
    process.join(TIMEOUT_S)
    assert process.exitcode is not None, f"the toy's training has not ended within {TIMEOUT_S} s"
    return subprocess.CompletedProcess("toy_training", process.exitcode, stderr=errors.read_text())


def _train(errors: Path, folder: str, specifications: str) -> None:
    """The forked process."""
    with errors.open("w") as stream:
        os.dup2(stream.fileno(), 2)
    toy_training.main(folder, specifications)


def run_apart(program: str, folder: str, *arguments: str, processes: int = 1) -> subprocess.CompletedProcess:
    """Run a module as a program, in one process or in several that torchrun starts; its first argument is its folder."""
    alone = [sys.executable, "-m", program, folder, *arguments]
    command = alone if processes == 1 else torchrun_command(processes, Path(folder), program, folder, *arguments)
    environment = {**os.environ, **torchrun_environment(), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT, env=environment)


def outcome(folder: Path, name: str) -> dict:
    """What a training of that name came to; of a process other than the first, `name`-RANK."""
    return json.loads((folder / f"{name}.json").read_text())
