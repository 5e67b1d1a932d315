"""What the keeper knows of each process, in one small file: starts after a death, and crash loops under way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.storage import replace_atomically

FILE_NAME = "keeper.status"  # no .json: those are the processes'


@dataclass
class ProcessStatus:
    """One process. `looping_since` is ISO 8601, UTC, while it dies again and again; `said` is how its log ended then."""

    restarts: int = 0
    looping_since: str | None = None
    said: str = ""


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
