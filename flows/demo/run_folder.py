"""A run of the main job on disk: what became of each stage, and what each found. What a killed run left is carried on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from infra.storage import replace_atomically

StageState = Literal["done", "partly", "skipped", "failed", "left out"]


@dataclass(frozen=True)
class Outcome:
    """What became of a stage. `reason` says why it was not done, or not wholly; `again`: the next call tries it once more."""

    state: StageState
    seconds: float
    output: Any = None
    reason: str | None = None
    again: bool = False
    finished_at: str = ""


class RunFolder:
    """One run: `plan.json`, `stages.json` (stages in order of their end), `summary.json` at the end, `demo.log`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._plan = folder / "stages.json", folder / "plan.json"
        kept = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._outcomes = {stage: Outcome(**entry) for stage, entry in kept.items()}

    @classmethod
    def open(cls, runs: Path, *, fresh: bool = False, source: str | None = None) -> tuple[RunFolder, bool]:
        """The unfinished run to carry on, or a new one; the flag says whether it is new.

        New when `fresh`, and where the unfinished one ingested other data than that of fingerprint `source`.
        """
        known = sorted(runs.glob("run-*"))
        if known and not fresh:
            newest = cls(known[-1])
            if not newest.finished() and not newest.ingested_other_than(source):
                return newest, False
        number = int(known[-1].name.split("-")[1]) + 1 if known else 1
        return cls(runs / f"run-{number:03d}"), True

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def log(self) -> Path:
        return self.folder / "demo.log"

    @property
    def plan(self) -> str | None:
        """The name of the plan that the run was begun with."""
        return json.loads(self._plan.read_text())["plan"] if self._plan.exists() else None

    def begin(self, plan: str) -> None:
        with replace_atomically(self._plan) as temporary:
            temporary.write_text(json.dumps({"plan": plan}))

    def finished(self) -> bool:
        """Whether the run has its summary and no stage is to be tried again."""
        return (self.folder / "summary.json").exists() and not any(outcome.again for outcome in self._outcomes.values())

    def ingested_other_than(self, source: str | None) -> bool:
        """Whether the run ingested data of another fingerprint; False where it ingested none, or `source` is unknown."""
        ingested = self.output("ingest")
        return source is not None and ingested is not None and not ingested["fingerprint"].startswith(f"{source}-")

    def outcome(self, stage: str) -> Outcome | None:
        """What became of `stage`, None before its end."""
        return self._outcomes.get(stage)

    def output(self, stage: str) -> Any | None:
        """What `stage` found, or None where it was not done."""
        found = self._outcomes.get(stage)
        return None if found is None else found.output

    def outputs(self) -> dict[str, Any]:
        return {stage: outcome.output for stage, outcome in self._outcomes.items() if outcome.output is not None}

    def outcomes(self) -> dict[str, Outcome]:
        return dict(self._outcomes)

    def seconds(self) -> dict[str, float]:
        """Wall-clock seconds of each stage (of its last try)."""
        return {stage: outcome.seconds for stage, outcome in self._outcomes.items()}

    def finish(
        self,
        stage: str,
        output: Any,
        seconds: float,
        state: StageState = "done",
        reason: str | None = None,
        *,
        again: bool = False,
    ) -> Outcome:
        """Remember what became of `stage`; `output` must be JSON."""
        kept = json.loads(json.dumps(output, default=str))
        outcome = Outcome(state, round(seconds, 1), kept, reason, again, datetime.now(UTC).isoformat())
        self._outcomes.pop(stage, None)
        self._outcomes[stage] = outcome
        with replace_atomically(self._file) as temporary:
            temporary.write_text(json.dumps({name: asdict(one) for name, one in self._outcomes.items()}, indent=2))
        return outcome

    def write_summary(self, summary: dict[str, Any]) -> Path:
        target = self.folder / "summary.json"
        with replace_atomically(target) as temporary:
            temporary.write_text(json.dumps(summary, indent=2, default=str))
        return target
