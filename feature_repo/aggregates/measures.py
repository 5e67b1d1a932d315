"""What is counted, and how it is remembered: the measures and the windows of every aggregate family.

A measure is a stream of (moment, amount). Actions count events, amount 1; valued measures add up seconds; undated measures
count exposures of which only an upper bound in time is known, so that they have a total and no window.
"""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.contracts import DURATIONS, Action
from feature_repo.heads import UNDATED_HEADS

MICROSECONDS = 1_000_000
MINUTE_US = 60 * MICROSECONDS
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

VALUE_CAP_S = 300.0  # one exposure cannot add more than this: a screen left on is no interest


@dataclass(frozen=True)
class Window:
    """One memory in two forms: fading with `span_us` as half-life, and sliding over `span_us`."""

    name: str
    span_us: int
    words: str


WINDOWS = (
    Window("5m", 5 * MINUTE_US, "5 minutes"),
    Window("30m", 30 * MINUTE_US, "30 minutes"),
    Window("2h", 2 * HOUR_US, "2 hours"),
    Window("24h", DAY_US, "24 hours"),
    Window("7d", 7 * DAY_US, "7 days"),
    Window("50d", 50 * DAY_US, "50 days"),
)

# A sliding count is kept in this many buckets of span / BUCKETS: it covers the bucket of the moment and those before it.
BUCKETS = 5

# A fading sum is kept as sum of amount x 2^((at - landmark) / half-life), so that an event adds one number and nothing old
# has to fade. The landmark is the beginning of the era, this many half-lives long: weights stay far inside a double's
# range, and going over to the next era multiplies by 2^-256, which is exact.
ERA_HALF_LIVES = 256

COUNTED = tuple(action.value for action in Action)
VALUED = {f"{action}_s": action for action in DURATIONS}  # measure -> the action whose value it adds
# Measure -> the action whose undated events it counts.
UNDATED = {f"undated_{action}": action for action in (Action.IMPRESSION.value, *UNDATED_HEADS)}
MEASURES = (*COUNTED, *VALUED, *UNDATED)
MEASURE_INDEX = {name: index for index, name in enumerate(MEASURES)}
