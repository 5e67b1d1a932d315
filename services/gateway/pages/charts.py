"""Geometry of the small charts. Pure: numbers in, coordinates out; the templates draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from monitoring.canary.verdict import MetricResult, Verdict

# All metrics share one axis: 0 is "alike", 1 is "the worst that is tolerated", and the axis ends at +-SPAN.
SPAN = 2.5
WIDTH = 600.0
CONE_HEIGHT = 120.0


@dataclass(frozen=True)
class IntervalBar:
    """One metric's interval on the shared axis, in x coordinates of a WIDTH-wide drawing; harm is to the right."""

    low: float
    high: float
    point: float
    zero: float
    limit: float
    cut_low: bool  # the interval goes on beyond the drawing
    cut_high: bool
    beyond: str  # "worse" or "better" where the whole interval lies past that end of the drawing, else ""


@dataclass(frozen=True)
class Cone:
    """How one metric's interval narrowed from look to look: SVG point lists, and the heights of zero and limit."""

    band: str
    line: str
    zero: float
    limit: float
    looks: int


def harm(metric: MetricResult, value: float) -> float:
    """`value` of the metric's difference in units of the tolerated worsening: 0 alike, 1 at the limit, negative better."""
    return (value - metric.null) / (metric.limit - metric.null)


def interval_bar(metric: MetricResult) -> IntervalBar | None:
    """The metric's bar; None where it has no data or no tolerance."""
    if metric.decision == "no_data" or metric.limit == metric.null or math.isnan(metric.difference):
        return None
    low, high = _harm_ends(metric)
    return IntervalBar(
        low=_x(low), high=_x(high), point=_x(harm(metric, metric.difference)), zero=_x(0), limit=_x(1),
        cut_low=low < -SPAN, cut_high=high > SPAN, beyond="worse" if low > SPAN else "better" if high < -SPAN else "",
    )  # fmt: skip


def cone(looks: Sequence[Verdict], name: str) -> Cone | None:
    """The intervals of metric `name` over the judge's looks; None with fewer than two looks that had data."""
    bars = [
        (*_harm_ends(m), harm(m, m.difference))
        for verdict in looks
        for m in verdict.metrics
        if m.name == name and interval_bar(m)
    ]
    if len(bars) < 2:
        return None
    xs = [WIDTH * place / (len(bars) - 1) for place in range(len(bars))]
    upper = [f"{x:.1f},{_y(high):.1f}" for x, (_, high, _) in zip(xs, bars, strict=True)]
    lower = [f"{x:.1f},{_y(low):.1f}" for x, (low, _, _) in zip(xs, bars, strict=True)]
    line = [f"{x:.1f},{_y(point):.1f}" for x, (_, _, point) in zip(xs, bars, strict=True)]
    return Cone(" ".join(upper + lower[::-1]), " ".join(line), _y(0), _y(1), len(bars))


def area(values: Sequence[float], top: float, width: float = 360.0, height: float = 56.0) -> str:
    """SVG path of the area under `values` (evenly spaced, oldest first), where `top` reaches the full height."""
    if not values or top <= 0:
        return ""
    step = width / max(len(values) - 1, 1)
    points = [f"{place * step:.1f} {height - height * min(value / top, 1):.1f}" for place, value in enumerate(values)]
    return f"M0 {height} L" + " L".join(points) + f" L{width} {height} Z"


def binned(per_second: Sequence[int], seconds: int = 4) -> list[float]:
    """Requests per second, averaged over bins of `seconds`."""
    return [sum(per_second[start : start + seconds]) / seconds for start in range(0, len(per_second), seconds)]


def _harm_ends(metric: MetricResult) -> tuple[float, float]:
    # NaN stands for an end that was infinite before it went through JSON.
    low = -math.inf if math.isnan(metric.low) else metric.low
    high = math.inf if math.isnan(metric.high) else metric.high
    first, second = harm(metric, low), harm(metric, high)
    return min(first, second), max(first, second)


def _x(units: float) -> float:
    return round((min(max(units, -SPAN), SPAN) + SPAN) / (2 * SPAN) * WIDTH, 1)


def _y(units: float) -> float:
    return (SPAN - min(max(units, -SPAN), SPAN)) / (2 * SPAN) * CONE_HEIGHT
