"""One metric between two arms: user-level means, variance reduced by a control variate, with an always-valid interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from monitoring.canary.intervals import quantile_interval, sequence_width
from monitoring.canary.verdict import MetricDecision, MetricResult, Role, Unit

MIN_USERS = 2  # an arm with fewer has no variance
LATENCY_QUANTILE = 0.95


@dataclass(frozen=True)
class Metric:
    """How one metric is judged. `margin` is the worsening that is tolerated, as a positive number."""

    name: str
    label: str
    role: Role
    better: str  # "lower" or "higher"
    margin: float
    harm_beyond_margin: bool = False  # True: harm means worse than the margin, not only worse than nothing
    is_share: bool = False  # values lie in [0, 1] and are often all zero
    unit: Unit = "nats"


@dataclass(frozen=True)
class UserValues:
    """A metric by user (users,), its control variate (users,) or None, and the users' weights (users,) or None for equal."""

    value: np.ndarray
    reference: np.ndarray | None = None
    weight: np.ndarray | None = None

    @property
    def has_reference(self) -> bool:
        return self.reference is not None and bool(np.isfinite(self.reference).all())

    @property
    def shares(self) -> np.ndarray:
        """Weights that sum to 1."""
        weight = np.ones(len(self.value)) if self.weight is None else self.weight
        return weight / weight.sum()


def compare_means(metric: Metric, control: UserValues, treatment: UserValues, alpha: float, tuned_for: float) -> MetricResult:
    """Difference of (weighted) user-level means, adjusted by the control variate where every user has one (CUPED)."""
    n_control, n_treatment = len(control.value), len(treatment.value)
    if min(n_control, n_treatment) < MIN_USERS:
        return _no_data(metric, n_control, n_treatment, alpha, null=0.0)
    c, t = control.value, treatment.value
    if control.has_reference and treatment.has_reference:
        c, t = _adjusted(control, treatment)
    mean_c, mean_t = float(control.shares @ c), float(treatment.shares @ t)
    variance = _mean_variance(c, control.shares, metric.is_share) + _mean_variance(t, treatment.shares, metric.is_share)
    width = sequence_width(variance, n_control * n_treatment / (n_control + n_treatment), alpha, tuned_for)
    difference = mean_t - mean_c
    return _result(
        metric,
        values=(mean_c, mean_t, difference),
        interval=(difference - width, difference + width),
        null=0.0,
        users=(n_control, n_treatment),
        alpha=alpha,
    )


def compare_latency(metric: Metric, control_ms: np.ndarray, treatment_ms: np.ndarray, alpha: float) -> MetricResult:
    """Ratio of the p95 of two sorted arrays of visit latencies; half of `alpha` pays for each arm's interval."""
    sizes = len(control_ms), len(treatment_ms)
    if min(sizes) < MIN_USERS or control_ms[-1] <= 0:
        return _no_data(metric, *sizes, alpha, null=1.0)
    p95 = [float(np.quantile(values, LATENCY_QUANTILE)) for values in (control_ms, treatment_ms)]
    (low_c, high_c), (low_t, high_t) = (
        quantile_interval(values, LATENCY_QUANTILE, alpha / 2) for values in (control_ms, treatment_ms)
    )
    low = max(low_t, 0.0) / high_c if high_c > 0 else 0.0
    high = high_t / low_c if low_c > 0 else math.inf
    values = (p95[0], p95[1], p95[1] / p95[0] if p95[0] > 0 else math.inf)
    return _result(metric, values=values, interval=(low, high), null=1.0, users=sizes, alpha=alpha)


def _adjusted(control: UserValues, treatment: UserValues) -> tuple[np.ndarray, np.ndarray]:
    """Both arms minus beta times their centred reference, with the beta that leaves the least variance within arms."""
    cross = spread = 0.0
    for arm in (control, treatment):
        x = arm.reference - arm.shares @ arm.reference
        cross += float(arm.shares @ (x * (arm.value - arm.shares @ arm.value)))
        spread += float(arm.shares @ (x * x))
    beta = cross / spread if spread > 0 else 0.0
    # Centring by the users of both arms keeps each arm's mean readable as a log loss; the difference does not see it.
    centre = float(np.concatenate([control.reference, treatment.reference]).mean())
    return control.value - beta * (control.reference - centre), treatment.value - beta * (treatment.reference - centre)


def _mean_variance(values: np.ndarray, shares: np.ndarray, is_share: bool) -> float:
    """Sampling variance of the weighted mean over users (linearised; the usual s^2 / n for equal weights)."""
    n = len(values)
    deviation = shares * (values - shares @ values)
    variance = float(deviation @ deviation) * n / (n - 1)
    if not is_share:
        return variance
    # No event seen is not proof of no events: at least the variance that one success and one failure more would leave.
    share = (float(values.sum()) + 1) / (n + 2)
    return max(variance, share * (1 - share) / n)


def _result(
    metric: Metric,
    *,
    values: tuple[float, float, float],
    interval: tuple[float, float],
    null: float,
    users: tuple[int, int],
    alpha: float,
) -> MetricResult:
    sign = 1.0 if metric.better == "lower" else -1.0
    return MetricResult(
        name=metric.name,
        label=metric.label,
        role=metric.role,
        better="lower" if sign > 0 else "higher",
        control=values[0],
        treatment=values[1],
        difference=values[2],
        low=interval[0],
        high=interval[1],
        null=null,
        limit=null + sign * metric.margin,
        decision=_decide(metric, interval, null),
        control_users=users[0],
        treatment_users=users[1],
        alpha=alpha,
        unit=metric.unit,
    )


def _decide(metric: Metric, interval: tuple[float, float], null: float) -> MetricDecision:
    """Where the interval lies, seen from the harmful side: worsening is positive here whatever the metric's direction."""
    low, high = (end - null for end in interval)
    if metric.better == "higher":
        low, high = -high, -low
    if high < 0:
        return "better"
    if high < metric.margin:
        return "no_worse"
    if low > (metric.margin if metric.harm_beyond_margin else 0.0):
        return "worse"
    return "inconclusive"


def _no_data(metric: Metric, n_control: int, n_treatment: int, alpha: float, null: float) -> MetricResult:
    nan = math.nan
    sign = 1.0 if metric.better == "lower" else -1.0
    return MetricResult(
        metric.name,
        metric.label,
        metric.role,
        "lower" if sign > 0 else "higher",
        *(nan, nan, nan, nan, nan),
        null,
        null + sign * metric.margin,
        "no_data",
        n_control,
        n_treatment,
        alpha,
        metric.unit,
    )
