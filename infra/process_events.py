"""What happened to the platform's processes, one JSON line each: deaths, failed starts, restarts, crash loops, recoveries."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from infra.storage import replace_atomically

FILE_NAME = "events.jsonl"
KEPT = 1_000  # newest lines that stay when the file has grown to MOST_BYTES
MOST_BYTES = 1_000_000

What = Literal["started", "died", "hung", "restarted", "did not start", "crash loop", "steady again", "keeper started"]


@dataclass(frozen=True)
class ProcessEvent:
    """One thing that happened to one process."""

    at: str  # ISO 8601, UTC
    process: str
    what: What
    detail: str = ""


class ProcessEvents:
    """The events of one platform, in a file of its folder of pids. One keeper writes; anybody reads."""

    def __init__(self, pids: Path) -> None:
        self._file = pids / FILE_NAME

    def add(self, process: str, what: What, detail: str = "") -> ProcessEvent:
        event = ProcessEvent(datetime.now(UTC).isoformat(timespec="milliseconds"), process, what, detail)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(event)) + "\n")
            grown = stream.tell() > MOST_BYTES
        if grown:
            self.shorten()
        return event

    def newest(self, most: int = KEPT) -> list[ProcessEvent]:
        """The newest events, oldest first. A line that is none, as one that a crash cut off, is left out."""
        try:
            lines = self._file.read_text(encoding="utf-8", errors="replace").splitlines()[-most:]
        except FileNotFoundError:
            return []
        return [event for line in lines if (event := _event(line)) is not None]

    def last_death(self) -> ProcessEvent | None:
        """The newest death that was noted, of a process that had lived."""
        return next((event for event in reversed(self.newest()) if event.what == "died"), None)

    def shorten(self) -> None:
        """Drop all but the newest KEPT events."""
        kept = self.newest(KEPT)
        with replace_atomically(self._file) as temporary:
            temporary.write_text("".join(json.dumps(asdict(event)) + "\n" for event in kept), encoding="utf-8")


def _event(line: str) -> ProcessEvent | None:
    try:
        return ProcessEvent(**json.loads(line))
    except (ValueError, TypeError):
        return None
