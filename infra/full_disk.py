"""A disk without room for what is written: the error names the file and what to do, whoever does the writing."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "make room on the disk of {folder}, or move MIXER_HOME to a larger one",
    errno.EDQUOT: "make room within your quota on the disk of {folder}, or have it raised",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
}
_SAID = re.compile(r"\(os error (\d+)\)")  # libraries written in Rust tell the number in words alone


class DiskFull(OSError):
    """A file found no room. What lay in its place before is still there, and the same can be run again when there is room."""


LEAST_FREE = 64 << 20  # bytes; below, the broker of one machine may acknowledge what it cannot write


def has_room(folder: Path) -> bool:
    """Whether the disk of `folder` has room for more than what is under way."""
    return shutil.disk_usage(folder).free >= LEAST_FREE


@contextmanager
def told_when_full(file: Path) -> Iterator[None]:
    """Raises DiskFull, which names `file`, where the block ends with an error of a full disk, a quota or a file-size limit.

    Other errors pass as they are, and so does one that names its file already.
    """
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        number = _number(error)
        if number not in _REMEDIES:
            raise
        remedy = _REMEDIES[number].format(folder=file.parent)
        raise DiskFull(number, f"{file} cannot be written: {os.strerror(number)}; {remedy}, and run it again") from error


def _number(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    said = _SAID.search(str(error))
    return int(said.group(1)) if said else None
