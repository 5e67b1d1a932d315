"""Differences and losses in words. Without the judge's mathematics: pages are rendered with it."""

from __future__ import annotations

import math

from monitoring.canary.verdict import MetricResult


def compared(result: MetricResult) -> str:
    """Both arms' values, the interval and the limit."""
    what = "ratio" if result.scale == "ratio" else "difference"
    side = "most" if result.better == "lower" else "least"
    return (
        f"{result.control:.3g} on the live release, {result.treatment:.3g} on the canary; the {what} lies between "
        f"{signed(result, result.low)} and {signed(result, result.high)}, at {side} {signed(result, result.limit)} is tolerated"
    )


def signed(result: MetricResult, value: float) -> str:
    """A difference, with its sign and unit."""
    if result.scale == "relative":
        return f"{100 * value:+.3g} %"
    if result.scale == "ratio":
        return f"{value:.3g}"
    return f"{100 * value:+.3g} points" if result.unit == "share" else f"{value:+.3g}"


def amount(result: MetricResult, value: float) -> str:
    """A worsening, without a sign."""
    if not math.isfinite(value):
        return "any size"
    if result.scale == "ratio":
        return f"a factor of {value:.3g}"
    if result.scale == "relative":
        return f"{100 * value:.2g} %"
    return f"{100 * value:.2g} points" if result.unit == "share" else f"{value:.2g}"
