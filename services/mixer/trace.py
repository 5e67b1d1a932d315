"""What happened to each candidate, and what each stage cost: the funnel, and the records that explain a request."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from services.mixer.candidates import Candidates

PENDING, SELECTED, RESERVE = -1, -2, -3  # fates below the index of a rule


class ConservationError(AssertionError):
    """A candidate was lost or ended twice: an error of the engine, never of a component."""


@dataclass(frozen=True)
class StageRecord:
    """One component's run. `before` and `after` count candidates; `failure` is empty or says what went wrong."""

    stage: str
    kind: str
    before: int
    after: int
    took_ms: float
    failure: str = ""

    def as_dict(self) -> dict:
        return {
            "stage": self.stage,
            "kind": self.kind,
            "before": self.before,
            "after": self.after,
            "removed": max(self.before - self.after, 0) if self.kind == "filter" else 0,
            "took_ms": round(self.took_ms, 3),
            "failure": self.failure,
        }


@dataclass
class Trace:
    """The request's account book. `proposed` holds all candidates as the sources gave them; fates are per ordinal."""

    keep_columns: bool = False
    stages: list[StageRecord] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    proposed: Candidates | None = None
    fates: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    snapshots: list[tuple[str, Candidates]] = field(default_factory=list)

    def begin(self, proposed: Candidates) -> None:
        self.proposed = proposed
        self.fates = np.full(len(proposed), PENDING, np.int32)

    def record(self, stage: StageRecord, candidates: Candidates | None = None) -> None:
        """Add a stage; a failure makes the component part of `degraded`; columns are kept only when explaining."""
        self.stages.append(stage)
        if stage.failure and stage.stage not in self.degraded:
            self.degraded.append(stage.stage)
        if self.keep_columns and candidates is not None:
            self.snapshots.append((stage.stage, candidates))

    def remove(self, candidates: Candidates, rule: str) -> None:
        if rule not in self.rules:
            self.rules.append(rule)
        self._settle(candidates, self.rules.index(rule))

    def select(self, candidates: Candidates) -> None:
        self._settle(candidates, SELECTED)

    def reserve(self, candidates: Candidates) -> None:
        self._settle(candidates, RESERVE)

    def _settle(self, candidates: Candidates, fate: int) -> None:
        ordinals = candidates["ordinal"]
        if len(np.unique(ordinals)) != len(ordinals) or np.any(self.fates[ordinals] != PENDING):
            raise ConservationError("a candidate ended twice")
        self.fates[ordinals] = fate

    def check(self) -> None:
        """Raise ConservationError unless every proposed candidate has ended somewhere."""
        lost = int(np.count_nonzero(self.fates == PENDING))
        if lost:
            raise ConservationError(f"{lost} of {len(self.fates)} candidates were neither selected, removed nor in reserve")

    def fate_of(self, ordinal: int) -> str:
        """`selected`, `reserve`, or the name of the rule that removed the candidate."""
        fate = int(self.fates[ordinal])
        return {SELECTED: "selected", RESERVE: "reserve", PENDING: "pending"}.get(fate) or self.rules[fate]

    def counts(self) -> dict[str, int]:
        """How many candidates ended in each way: selected, reserve, and one entry a rule."""
        ends = {"selected": SELECTED, "reserve": RESERVE, **{rule: index for index, rule in enumerate(self.rules)}}
        return {name: int(np.count_nonzero(self.fates == fate)) for name, fate in ends.items()}

    def funnel(self) -> list[StageRecord]:
        """One record a stage, in order; the runs of a late filter that was asked again after a refill become one."""
        merged: dict[str, StageRecord] = {}
        for record in self.stages:
            earlier = merged.get(record.stage)
            if earlier is not None:
                removed = earlier.before - earlier.after + record.before - record.after
                record = replace(
                    record,
                    before=record.after + removed,
                    took_ms=earlier.took_ms + record.took_ms,
                    failure=record.failure or earlier.failure,
                )
            merged[record.stage] = record
        return list(merged.values())

    def last_columns(self, ordinal: int) -> tuple[str, Candidates] | None:
        """The last recorded stage that still held the candidate, and that one row with every column it had by then."""
        for stage, candidates in reversed(self.snapshots):
            row = np.flatnonzero(candidates["ordinal"] == ordinal)
            if len(row):
                return stage, candidates.take(row)
        return None
