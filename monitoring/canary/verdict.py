"""What the judge says, as values that go into the ledger and onto the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Decision = Literal["promote", "rollback", "inconclusive"]
MetricDecision = Literal["better", "no_worse", "worse", "inconclusive", "no_data"]
Unit = Literal["nats", "score", "share", "ms"]
Role = Literal["decides", "guards", "observed"]


@dataclass(frozen=True)
class MetricResult:
    """One metric in both arms. `low`..`high` is the always-valid interval of `difference` (a ratio where `null` is 1)."""

    name: str
    label: str
    role: Role
    better: Literal["lower", "higher"]
    control: float
    treatment: float
    difference: float
    low: float
    high: float
    null: float  # the value of `difference` when both arms are alike
    limit: float  # the worst `difference` that is tolerated
    decision: MetricDecision
    control_users: int
    treatment_users: int
    alpha: float
    unit: Unit = "nats"  # of `control` and `treatment`


@dataclass(frozen=True)
class Verdict:
    """The judge's answer, and all it rests on."""

    decision: Decision
    metrics: list[MetricResult]
    reasons: list[str]
    samples: Mapping[str, float | int | None] = field(default_factory=dict)

    def metric(self, name: str) -> MetricResult:
        """The result called `name`; KeyError names those there are."""
        for result in self.metrics:
            if result.name == name:
                return result
        raise KeyError(f"no metric {name!r}; there are {[result.name for result in self.metrics]}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; an infinite or missing number becomes None."""
        return _finite(asdict(self))

    @staticmethod
    def from_dict(value: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_dict` wrote; a None number comes back as NaN."""
        metrics = [
            MetricResult(**{name: math.nan if item is None else item for name, item in metric.items()})
            for metric in value["metrics"]
        ]
        return Verdict(value["decision"], metrics, list(value["reasons"]), dict(value["samples"]))


def verdict_in(evidence: Mapping[str, Any]) -> Verdict | None:
    """The verdict that a piece of evidence is, or holds under `verdict`; None where it has none."""
    for candidate in (evidence.get("verdict"), evidence):
        if isinstance(candidate, Mapping) and "metrics" in candidate and "decision" in candidate:
            return Verdict.from_dict(candidate)
    return None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
