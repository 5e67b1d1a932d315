"""A sign of life from a process that answers no requests: its loop touches a file, and the keeper looks at the file's time."""

from __future__ import annotations

import time
from pathlib import Path

HEARTBEAT = "MIXER_HEARTBEAT"  # the environment variable with the file that a process touches
BEAT_EVERY_S = 1.0


class Heartbeat:
    """Of this process, in the file that its settings name (`Settings.heartbeat`); none where they name none."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._next = 0.0

    def beat(self) -> None:
        """Say that the loop turns; touches the file once a second at most. Raises OSError where it can't be touched."""
        now = time.monotonic()
        if self._file is not None and now >= self._next:
            self._next = now + BEAT_EVERY_S
            self._file.touch()
