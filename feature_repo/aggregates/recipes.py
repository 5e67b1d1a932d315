"""How each statistic is computed: what it reads off which cells, and the formula over that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from feature_repo.aggregates import readings
from feature_repo.aggregates.beliefs import MEAN_WEIGHT, RATE_WEIGHT, TREND_WEIGHT
from feature_repo.aggregates.catalogue import LONGER, Feature, belief, rate_parts
from feature_repo.aggregates.families import FAMILY_OF
from feature_repo.aggregates.measures import WINDOWS
from feature_repo.aggregates.phrases import action_of, met
from feature_repo.aggregates.statistics import DISTINCT

# (matrices (n, columns) in the order of the reads, one constant a column) -> (n, columns)
Formula = Callable[[list[np.ndarray], np.ndarray], np.ndarray]

_WINDOW_NAMES = [window.name for window in WINDOWS]


@dataclass(frozen=True)
class Reading:
    """One number of one cell: how it is read, of which measure, at which window or counter."""

    reader: readings.Reader
    measure: str
    place: int = 0


@dataclass(frozen=True)
class Recipe:
    """What is read for one feature and what is made of it."""

    reads: tuple[Reading, ...]
    formula: Formula
    constant: float = 0.0


def as_read(reads: list[np.ndarray], _constant: np.ndarray) -> np.ndarray:
    """The reading itself."""
    return reads[0]


def smoothed_rate(reads: list[np.ndarray], belief: np.ndarray) -> np.ndarray:
    """(events + weight x belief) / (impressions + weight)."""
    events, impressions = reads
    return (events + RATE_WEIGHT * belief) / (impressions + RATE_WEIGHT)


def lifetime_rate(reads: list[np.ndarray], belief: np.ndarray) -> np.ndarray:
    """The smoothed rate of dated and undated events together: reads are events, undated ones, impressions, undated ones."""
    events, undated_events, impressions, undated_impressions = reads
    return smoothed_rate([events + undated_events, impressions + undated_impressions], belief)


def smoothed_mean(reads: list[np.ndarray], belief: np.ndarray) -> np.ndarray:
    """(seconds + weight x belief) / (events + weight)."""
    seconds, events = reads
    return (seconds + MEAN_WEIGHT * belief) / (events + MEAN_WEIGHT)


def smoothed_trend(reads: list[np.ndarray], share: np.ndarray) -> np.ndarray:
    """(short + weight) / (long x share of the short window in the long one + weight): 1 is a steady pace."""
    short, long = reads
    return (short + TREND_WEIGHT) / (long * share + TREND_WEIGHT)


def _fading(feature: Feature) -> Recipe:
    return Recipe((Reading(readings.faded, feature.measure, _place(feature)),), as_read)


def _sliding(feature: Feature) -> Recipe:
    return Recipe((Reading(readings.sliding, feature.measure, _place(feature)),), as_read)


def _total(feature: Feature) -> Recipe:
    return Recipe((Reading(readings.total, feature.measure),), as_read)


def _since(feature: Feature) -> Recipe:
    return Recipe((Reading(readings.since_s, feature.measure),), as_read)


def _rate(feature: Feature) -> Recipe:
    reader = readings.faded if feature.statistic == "rate" else readings.sliding
    reads = tuple(Reading(reader, measure, _place(feature)) for measure in (feature.measure, "impression"))
    return Recipe(reads, smoothed_rate, belief(feature.measure))


def _lifetime_rate(feature: Feature) -> Recipe:
    events, exposures = rate_parts(FAMILY_OF[feature.family], feature.measure)
    reads = tuple(Reading(readings.total, measure) for measure in (*events, *exposures))
    return Recipe(reads, lifetime_rate if len(reads) == 4 else smoothed_rate, belief(feature.measure))


def _trend(feature: Feature) -> Recipe:
    window = WINDOWS[_place(feature)]
    longer = LONGER[window]
    reads = tuple(Reading(readings.faded, feature.measure, WINDOWS.index(one)) for one in (window, longer))
    return Recipe(reads, smoothed_trend, window.span_us / longer.span_us)


def _mean(feature: Feature) -> Recipe:
    reads = tuple(
        Reading(readings.faded, measure, _place(feature)) for measure in (feature.measure, action_of(feature.measure).value)
    )
    return Recipe(reads, smoothed_mean, belief(feature.measure))


def _lifetime_mean(feature: Feature) -> Recipe:
    reads = tuple(Reading(readings.total, measure) for measure in (feature.measure, action_of(feature.measure).value))
    return Recipe(reads, smoothed_mean, belief(feature.measure))


def _distinct(feature: Feature) -> Recipe:
    family = FAMILY_OF[feature.family]
    names = [f"{DISTINCT}{met(family, FAMILY_OF[pair])}" for pair in family.distinct]
    return Recipe((Reading(readings.distinct, feature.measure, names.index(feature.statistic)),), as_read)


_RECIPES: dict[str, Callable[[Feature], Recipe]] = {
    "count": _fading,
    "sum": _fading,
    "sliding": _sliding,
    "total": _total,
    "since_s": _since,
    "rate": _rate,
    "sliding_rate": _rate,
    "lifetime_rate": _lifetime_rate,
    "trend": _trend,
    "mean": _mean,
    "lifetime_mean": _lifetime_mean,
}


def recipe_of(feature: Feature) -> Recipe:
    """How `feature` is computed."""
    return _distinct(feature) if feature.statistic.startswith(DISTINCT) else _RECIPES[feature.statistic](feature)


def _place(feature: Feature) -> int:
    return _WINDOW_NAMES.index(feature.window)
