"""What the judge says, as values that go into the ledger and onto the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

Decision = Literal["promote", "rollback", "inconclusive"]
MetricDecision = Literal["better", "no_worse", "worse", "inconclusive", "no_data"]
Unit = Literal["nats", "score", "share", "ms", "actions", "hours"]
Role = Literal["decides", "guards", "signals", "observed"]
Scale = Literal["relative", "absolute", "ratio"]


@dataclass(frozen=True)
class MetricResult:
    """One metric in both arms. `low`..`high` is the always-valid interval of `difference` (a ratio where `null` is 1).

    The interval's end on the good side misses with the chance `alpha`, the one on the bad side with the policy's
    `promote_alpha`: a rollback asks for more certainty than a step up. An observed metric has no part in the decision.
    """

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
    scale: Scale = "absolute"  # of `difference`, its interval and `detectable`: relative to the control, in `unit`, or a ratio
    detectable: float = math.nan  # smallest worsening that the evidence would tell from none; positive, a ratio above 1
    detectable_last: float = math.nan  # the same, projected to the end of the step
    powered: bool = False  # whether it can show, now or by the end of the last step, that a release is no worse than its margin
    dry_run: bool = False  # judged and shown, with no effect
    missing: str = ""  # why `control` and `treatment` are unknown, and how much is needed to know them
    says: str = ""  # the result in words, and what it could have seen


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
        """The verdict that `to_dict` wrote, now or in an earlier version; a None number comes back as NaN.

        Fields that are not known any more are ignored, and those that were not known then have their defaults.
        """
        known = {one.name for one in fields(MetricResult)}
        metrics = [
            MetricResult(**{name: math.nan if item is None else item for name, item in metric.items() if name in known})
            for metric in value["metrics"]
        ]
        return Verdict(value["decision"], metrics, list(value.get("reasons", ())), dict(value.get("samples", {})))


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
