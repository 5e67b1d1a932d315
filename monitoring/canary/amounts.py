"""Differences and worsenings in words. Without the judge's mathematics: pages are rendered with it."""

from __future__ import annotations

import math
import sys

from monitoring.canary.verdict import MetricResult

NOT_EVEN = {"higher": "not even a loss of everything", "lower": "not even the worst there can be"}  # by which is better


def compared(result: MetricResult) -> str:
    """Both arms' values, the interval and the limit."""
    what = "ratio" if result.scale == "ratio" else "difference"
    side = "most" if result.better == "lower" else "least"
    return (
        f"{plain(result.control)} on the live release, {plain(result.treatment)} on the canary; the {what} lies between "
        f"{signed(result, result.low)} and {signed(result, result.high)}, at {side} {signed(result, result.limit)} is tolerated"
    )


def signed(result: MetricResult, value: float) -> str:
    """A difference, with its sign and unit."""
    if result.scale == "ratio":
        return plain(value)
    percent = result.scale == "relative"
    if percent or result.unit == "share":
        value = max(value, -1.0)  # nothing falls by more than all of it, however wide the interval is
    sign = "-" if value < 0 else "+"
    if percent or result.unit == "share":
        return f"{sign}{plain(abs(100 * value))} {'%' if percent else 'points'}"
    return sign + plain(abs(value))


def amount(result: MetricResult, value: float) -> str:
    """A worsening, without a sign."""
    if result.scale == "ratio":
        return f"a factor of {plain(value)}"
    if result.scale == "relative":
        return f"{plain(100 * value)} %"
    return f"{plain(100 * value)} points" if result.unit == "share" else plain(value)


def seen(result: MetricResult) -> str:
    """The smallest worsening that would be detected; in words where not even the largest possible one would be."""
    return amount(result, result.detectable) if result.detectable <= most(result) else NOT_EVEN[result.better]


def worsening(result: MetricResult, value: float) -> str:
    """A worsening as the subject of a sentence: a loss of what should be high, a rise of what should be low."""
    change = "a loss" if result.better == "higher" else "a rise"
    return f"{change} {'by' if result.scale == 'ratio' else 'of'} {amount(result, value)}"


def worsening_seen(result: MetricResult) -> str:
    """The same as `seen`, as the subject of a sentence."""
    return worsening(result, result.detectable) if result.detectable <= most(result) else seen(result)


def most(result: MetricResult) -> float:
    """The largest worsening that there can be, in the result's scale: everything is lost, or every request fails."""
    loses = result.better == "higher"
    if result.scale == "relative" and loses:
        return 1.0
    if result.scale == "absolute" and result.unit == "share":
        return result.control if loses else 1.0 - result.control
    return sys.float_info.max


def plain(value: float) -> str:
    """A number as people write it, with three digits that say something; no powers of ten."""
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "without end"
    if abs(value) >= 1e6:
        return "millions"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 or value == 0 else "less than 0.001"
