"""How each process does: in words, and what the keeper knows of it, in one small file: starts after a death, crash loops."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.process_spec import ProcessSpec, Running
from infra.storage import replace_atomically

FILE_NAME = "keeper.status"  # no .json: those are the processes'


@dataclass
class ProcessStatus:
    """One process. `looping_since` is ISO 8601, UTC, while it dies again and again; `said` is how its log ended then."""

    restarts: int = 0
    looping_since: str | None = None
    said: str = ""


def standing(spec: ProcessSpec, running: Running | None, *, ready: bool, status: ProcessStatus, kept: bool, now: float) -> str:
    """What is to be said of a process; nothing where it is well.

    ready: whether it passes its readiness check; kept: whether a keeper is there; now: Unix seconds.
    """
    if status.looping_since:
        return "dies again and again: see its log"
    if running is None:
        return "dead; it is started again" if kept else "dead, and no keeper is there to start it: `mixer up` does"
    age_s = now - running.started_at
    if ready:
        return ""
    return f"starting for {age_s:.0f} s" if age_s < spec.ready_timeout_s else "runs and is not ready: see its log"


class StatusFile:
    """Written by the keeper, whole; read by whoever wants to know."""

    def __init__(self, pids: Path) -> None:
        self._file = pids / FILE_NAME

    def read(self) -> dict[str, ProcessStatus]:
        """Every process that the keeper has seen, by name; empty before there was a keeper."""
        try:
            return {name: ProcessStatus(**one) for name, one in json.loads(self._file.read_text()).items()}
        except FileNotFoundError:
            return {}

    def looping(self) -> dict[str, ProcessStatus]:
        """The processes that die again and again."""
        return {name: one for name, one in self.read().items() if one.looping_since is not None}

    def write(self, status: dict[str, ProcessStatus]) -> None:
        with replace_atomically(self._file) as temporary:
            temporary.write_text(json.dumps({name: asdict(one) for name, one in status.items()}))
