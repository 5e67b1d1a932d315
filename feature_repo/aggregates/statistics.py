"""What is read off the cells of a key: the statistics, with the words that describe them."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.aggregates import beliefs
from feature_repo.aggregates.measures import COUNTED, UNDATED, VALUED, WINDOWS, Window

NEVER = -1.0  # value of since_s before the first event
RATED = tuple(action for action in COUNTED if action != "impression")
EXPOSURE = "undated_impression"  # what undated actions are rated against

_FADING = "events weigh 2^(-age / half-life); their weights are added"
_SLIDING = "events of the fifth of the window that the moment lies in and of the four fifths before it are counted"


@dataclass(frozen=True)
class Statistic:
    """One way to read a measure. `words` and `formula` are formats over the fields that `catalogue` fills in."""

    name: str
    measures: tuple[str, ...]
    windows: tuple[Window, ...]  # empty: over all time
    unit: str
    words: str
    formula: str


def _rate(count: str, impressions: str) -> str:
    return f"({count} + {beliefs.RATE_WEIGHT:g} x {{belief}}) / ({impressions} + {beliefs.RATE_WEIGHT:g})"


def _mean(seconds: str, count: str) -> str:
    return f"({seconds} + {beliefs.MEAN_WEIGHT:g} x {{belief}}) / ({count} + {beliefs.MEAN_WEIGHT:g})"


_TREND = (
    f"(a + {beliefs.TREND_WEIGHT:g}) / (b x {{share}} + {beliefs.TREND_WEIGHT:g}), a and b the fading counts with half-lives "
    "{window} and {longer}: 1 is a steady pace"
)

# Order of a family's features: statistic, then measure, then window.
STATISTICS = (
    Statistic("count", COUNTED, WINDOWS, "events", "{What}, fading with a half-life of {window}.", _FADING),
    Statistic("sliding", COUNTED, WINDOWS, "events", "{What} in the last {window}, in steps of a fifth of it.", _SLIDING),
    Statistic(
        "rate",
        RATED,
        WINDOWS,
        "events per impression",
        "{What} per impression, both fading with a half-life of {window}, smoothed towards {belief}.",
        _rate("{measure}.count.{short}", "impression.count.{short}"),
    ),
    Statistic(
        "sliding_rate",
        RATED,
        WINDOWS,
        "events per impression",
        "{What} per impression in the last {window}, smoothed towards {belief}.",
        _rate("{measure}.sliding.{short}", "impression.sliding.{short}"),
    ),
    Statistic(
        "trend",
        COUNTED,
        WINDOWS[:-1],
        "ratio of paces",
        "Pace of {what} over {window} as a multiple of their pace over {longer}, smoothed towards 1.",
        _TREND,
    ),
    Statistic(
        "sum",
        tuple(VALUED),
        WINDOWS,
        "seconds",
        "Seconds of {what}, fading with a half-life of {window}.",
        "as count, with the event's seconds for an amount (each event capped)",
    ),
    Statistic(
        "mean",
        tuple(VALUED),
        WINDOWS,
        "seconds",
        "Mean seconds of {what}, fading with a half-life of {window}, smoothed towards {belief} s.",
        _mean("{measure}.sum.{short}", "{action}.count.{short}"),
    ),
    Statistic("total", tuple(COUNTED), (), "events", "{What}, all that ever were.", "every event counts 1"),
    Statistic(
        "total",
        tuple(VALUED),
        (),
        "seconds",
        "Seconds of {what}, all that ever were.",
        "the events' seconds are added (each event capped)",
    ),
    Statistic("total", tuple(UNDATED), (), "events", "{What}, all of them.", "every undated event counts 1"),
    Statistic(
        "since_s",
        COUNTED,
        (),
        "seconds",
        f"Seconds since the last of {{what}}; {NEVER:g} means never.",
        f"moment of use minus time of the newest event, at least 0; {NEVER:g} where there is none",
    ),
    Statistic(
        "lifetime_rate",
        RATED,
        (),
        "events per impression",
        "{What} per impression over all time, smoothed towards {belief}.",
        _rate("{events}", "{exposures}"),
    ),
    Statistic(
        "lifetime_rate",
        tuple(measure for measure in UNDATED if measure != EXPOSURE),
        (),
        "events per impression",
        "{What}, per impression from then, smoothed towards {belief}.",
        _rate("{events}", "{exposures}"),
    ),
    Statistic(
        "lifetime_mean",
        tuple(VALUED),
        (),
        "seconds",
        "Mean seconds of {what} over all time, smoothed towards {belief} s.",
        _mean("{measure}.total", "{action}.total"),
    ),
)
DISTINCT = "distinct_"  # and the counterpart's plural; declared by `Family.distinct`, kept for every counted action
