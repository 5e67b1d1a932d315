"""A run of the main job on disk: which stages are done, and what each found. What a killed run left is carried on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.storage import replace_atomically


class RunFolder:
    """One run: `stages.json` (finished stages, in order), `summary.json` at the end, `demo.log`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "stages.json"
        self._done: dict[str, dict[str, Any]] = json.loads(self._file.read_text()) if self._file.exists() else {}

    @classmethod
    def open(cls, runs: Path, *, fresh: bool = False) -> tuple[RunFolder, bool]:
        """The unfinished run to carry on, or a new one (always new when `fresh`); the flag says whether it is new."""
        known = sorted(runs.glob("run-*"))
        if known and not fresh and not (known[-1] / "summary.json").exists():
            return cls(known[-1]), False
        number = int(known[-1].name.split("-")[1]) + 1 if known else 1
        return cls(runs / f"run-{number:03d}"), True

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def log(self) -> Path:
        return self.folder / "demo.log"

    def output(self, stage: str) -> Any | None:
        """What the finished `stage` found, or None when it is not finished."""
        entry = self._done.get(stage)
        return None if entry is None else entry["output"]

    def outputs(self) -> dict[str, Any]:
        return {stage: entry["output"] for stage, entry in self._done.items()}

    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds of each finished stage (of the try that finished it)."""
        return {stage: entry["seconds"] for stage, entry in self._done.items()}

    def finish(self, stage: str, output: Any, seconds: float) -> None:
        """Remember that `stage` is done; `output` must be JSON."""
        entry = {"finished_at": datetime.now(UTC).isoformat(), "seconds": round(seconds, 1), "output": output}
        self._done[stage] = json.loads(json.dumps(entry, default=str))
        with replace_atomically(self._file) as temporary:
            temporary.write_text(json.dumps(self._done, indent=2))

    def write_summary(self, summary: dict[str, Any]) -> Path:
        target = self.folder / "summary.json"
        with replace_atomically(target) as temporary:
            temporary.write_text(json.dumps(summary, indent=2, default=str))
        return target
