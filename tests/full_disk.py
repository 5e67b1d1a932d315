"""Disks without room: a limit on files that needs no rights, and a small file system that is really full.

As a program it calls a function in a folder, with what fills that folder's file system: `full_disk MODULE:FUNCTION FOLDER`.
"""

from __future__ import annotations

import errno
import importlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DISK_MB = 64

Full = Callable[[], AbstractContextManager]  # as long as its block lasts there is no room
Job = Callable[[Path, Full], None]


@contextmanager
def file_limit(size: int = 4_096) -> Iterator[None]:
    """No file grows beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """The file system of `folder` has not one block left."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        try:
            while stream.write(bytes(4_096)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    try:
        yield
    finally:
        ballast.unlink()


def why_no_small_disk() -> str | None:
    """Why this machine gives an ordinary process no file system of its own; None where it does."""
    try:
        tried = subprocess.run([*_NAMESPACE, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return None if tried.returncode == 0 else tried.stderr.strip()


def on_small_disk(job: Job, folder: Path) -> subprocess.CompletedProcess:
    """Call `job` in a process that sees a file system of DISK_MB at `folder`."""
    mounted = f'mount -t tmpfs -o size={DISK_MB}m tmpfs "$0" && exec "$@"'
    program = [sys.executable, "-m", __name__, f"{job.__module__}:{job.__name__}", str(folder)]
    command = [*_NAMESPACE, "sh", "-c", mounted, str(folder), *program]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT, env=environment)


_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def main(job: str, folder: str) -> None:
    module, name = job.split(":")
    getattr(importlib.import_module(module), name)(Path(folder), lambda: filled(Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
