"""The virtual environment of a peer whose packages do not agree with this project's lock file, made on first use."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.steps.progress import announce
from tests.bench.quality.peer import ROOT, NotRun

_SET_UP = ROOT / "infra" / "set_up_peer.sh"
# What uv says where nobody answers. A refusal, an unknown package or versions that disagree are none of these.
_OUT_OF_REACH = re.compile(r"dns error|tcp connect error|timed out|HTTP status server error|network was disabled")


class IndexOutOfReach(NotRun):
    """The package index does not answer: nothing is wrong here, and nothing can be installed."""


def peer_environment(folder: Path, packages: Sequence[str], name: str) -> Path:
    """The python of the environment in `folder` that holds `packages`; `name` is the peer's, for messages.

    One that is whole is used again, one that a broken run has left is completed; processes that ask at once wait for the one
    that makes it. Raises IndexOutOfReach where the package index does not answer, NotRun where it cannot be made otherwise.
    """
    with _alone(folder):
        python = folder / "bin" / "python"
        if not _whole(folder, python, packages):
            announce(f"{name}: making its environment")
            _make(folder, packages, name)
        return python


def _whole(folder: Path, python: Path, packages: Sequence[str]) -> bool:
    """Whether all is installed, and the interpreter that it was made with is still there."""
    marker = folder / ".installed"
    return python.exists() and marker.exists() and marker.read_text().split() == list(packages)


def _make(folder: Path, packages: Sequence[str], name: str) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise NotRun(f"{name} needs an environment of its own, and `uv` is not installed: `make install` brings it")
    command = [str(_SET_UP), uv, sys.executable, str(folder), *packages]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if not answer.returncode:
        return
    reason = _reason(answer.stderr)
    if _OUT_OF_REACH.search(reason):
        raise IndexOutOfReach(f"{name}: the package index is out of reach, and {folder} is not made yet ({reason})")
    raise NotRun(f"{name}: its environment {folder} cannot be installed: {reason}")


def _reason(stderr: str) -> str:
    """The last error in one line, with its causes: the set-up tries one source of torch after another."""
    lines = [line.strip() for line in stderr.strip().splitlines()] or ["the set-up said nothing"]
    errors = [number for number, line in enumerate(lines) if line.startswith("error:")]
    return "; ".join(line for line in lines[errors[-1] if errors else -1 :] if line)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process that holds it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
