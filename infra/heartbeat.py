"""A sign of life from a process that answers no requests: its loop touches a file, and the keeper looks at the file's time."""

from __future__ import annotations

import os
import time
from pathlib import Path

HEARTBEAT = "MIXER_HEARTBEAT"  # the environment variable with the file that a process touches
BEAT_EVERY_S = 1.0


class Heartbeat:
    """Of this process. Does nothing where nobody asked for it."""

    def __init__(self) -> None:
        file = os.environ.get(HEARTBEAT)
        self._file = None if file is None else Path(file)
        self._next = 0.0

    def beat(self) -> None:
        """Say that the loop turns; touches the file once a second at most. A disk that is full is no reason to die."""
        now = time.monotonic()
        if self._file is None or now < self._next:
            return
        self._next = now + BEAT_EVERY_S
        try:
            self._file.touch()
        except OSError:
            return  # the keeper will think that we hang, and start us again: better than to end here
