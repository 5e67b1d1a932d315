"""The folder that a training writes its bundle and checkpoints to: one training at a time, the same one after a kill."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def bundle_folder(place: Path, name: str, tell: Callable[[str], None] = lambda text: None) -> Iterator[Path]:
    """`place`/`name`, held by this training alone while the block runs.

    Another training of the same name (equal data) waits here until the first has ended, and says so by `tell`. The system
    lets go of the lock of a process that is killed: the run after it finds the folder free, with its checkpoints.
    """
    place.mkdir(parents=True, exist_ok=True)
    with (place / f".{name}.lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"another training on the same data is at work in {place / name}: waiting for it to end")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield place / name
