"""An alert rule, and its evaluation on metrics as they are now."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How soon a person must look."""

    PAGE = "page"  # now
    TICKET = "ticket"  # today


RUNBOOK = "docs/releases.md"
_COMPARISONS = {">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class AlertRule:
    """Fires while a series of `metric` with the labels `where` is beyond `bound`; for Prometheus, during `for_s` seconds."""

    name: str
    metric: str
    comparison: str  # ">" or "<"
    bound: float
    for_s: int
    severity: Severity
    words: str  # what is wrong while it fires
    remedy: str
    where: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.comparison not in _COMPARISONS:
            raise ValueError(f"alert {self.name!r} compares by {self.comparison!r}; use one of {', '.join(_COMPARISONS)}")

    @property
    def runbook(self) -> str:
        """Where the documentation says what to do."""
        return f"{RUNBOOK}#{self.name.lower()}"

    @property
    def expression(self) -> str:
        """The rule in Prometheus's language."""
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(self.where.items()))
        return (
            f"{self.metric}{{{labels}}} {self.comparison} {self.bound:g}"
            if labels
            else (f"{self.metric} {self.comparison} {self.bound:g}")
        )


@dataclass(frozen=True)
class Sample:
    """One series of a metric with its value now."""

    metric: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class AlertState:
    """A rule with the series that is nearest to its bound, or furthest beyond; no series: nothing is known."""

    rule: AlertRule
    sample: Sample | None

    @property
    def firing(self) -> bool:
        """Whether the worst series is beyond the bound now, however short a time."""
        return self.sample is not None and _COMPARISONS[self.rule.comparison](self.sample.value, self.rule.bound)


def evaluate(rules: Sequence[AlertRule], samples: Iterable[Sample]) -> list[AlertState]:
    """The state of every rule, in the order of `rules`."""
    by_metric: dict[str, list[Sample]] = {}
    for sample in samples:
        by_metric.setdefault(sample.metric, []).append(sample)
    return [AlertState(rule, _worst(rule, by_metric.get(rule.metric, []))) for rule in rules]


def _worst(rule: AlertRule, samples: list[Sample]) -> Sample | None:
    chosen = [sample for sample in samples if rule.where.items() <= sample.labels.items()]
    worst = max if rule.comparison == ">" else min
    return worst(chosen, key=lambda sample: sample.value, default=None)
