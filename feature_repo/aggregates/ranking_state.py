"""The aggregate catalogue: keys x measures x windows, declared once for the batch and the stream engine.

A key's state is one packed vector, `STATE_COLUMNS`, valid at the time `updated_at` of the newest event folded in.
`derive.py` turns a state and the moment of use into the model's columns, `DERIVED_COLUMNS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from feature_repo.contracts import Action
from feature_repo.heads import COMPLETED, HEADS, LIKED, OPENED, UNDATED_HEADS, Role

MICROSECONDS = 1_000_000
HOUR_US = 3_600 * MICROSECONDS


class Key(StrEnum):
    """What an aggregate is kept for; the value is also the name of the feature view."""

    USER = "user"
    POST = "post"
    AUTHOR = "author"
    TOPIC = "topic"

    @property
    def column(self) -> str:
        """Name of the id column in events that carry their post's first topic."""
        return "topic" if self is Key.TOPIC else f"{self.value}_id"

    @property
    def file(self) -> str:
        """Name of the file that the batch engine writes its states to."""
        return f"{self.value}.arrow"


@dataclass(frozen=True)
class Window:
    """A memory: everything, or exponentially fading with a half-life."""

    name: str
    half_life_us: int | None
    words: str


WINDOWS = (
    Window("all", None, "since the first event"),
    Window("24h", 24 * HOUR_US, "fading with a half-life of 24 hours"),
    Window("7d", 7 * 24 * HOUR_US, "fading with a half-life of 7 days"),
)

COUNTED = (Action.IMPRESSION.value, *HEADS)
DWELL = "dwell_s"  # seconds watched or read, each exposure capped
DWELL_CAP_S = 300.0
MEASURES = (*COUNTED, DWELL)

# Undated exposures from before the first logged day carry only these signals.
PRIOR = (Action.IMPRESSION.value, *UNDATED_HEADS)
AGED = (Action.IMPRESSION.value, *OPENED, *COMPLETED)
NEVER = -1.0  # value of an age column before its first event


@dataclass(frozen=True)
class Column:
    """One number of a packed vector."""

    name: str
    description: str


def _state_columns() -> tuple[Column, ...]:
    sums = [
        Column(f"{measure}.{window.name}", f"sum of {measure}, {window.words}") for window in WINDOWS for measure in MEASURES
    ]
    prior = [Column(f"prior_{action}", f"undated {action} events from before the first logged day") for action in PRIOR]
    ages = [Column(f"age.{action}", f"seconds from the last {action} to updated_at, {NEVER:g}: never") for action in AGED]
    return (*sums, *prior, *ages)


STATE_COLUMNS = _state_columns()
STATE_WIDTH = len(STATE_COLUMNS)
STATE_INDEX = {column.name: index for index, column in enumerate(STATE_COLUMNS)}
SUMS = len(WINDOWS) * len(MEASURES)  # the leading columns of a state: fading or plain sums, window by window

PRIOR_STRENGTH = 5.0  # impressions that the prior of a smoothed rate (heads.PRIOR_RATES) is worth
# What is counted and timed by what it stands for, whichever actions a log has: name -> the actions that are taken together.
EXPOSED = {Action.IMPRESSION.value: (Action.IMPRESSION.value,)}
LOGGED_COUNTS = {**EXPOSED, Role.OPENED.value: OPENED, Role.COMPLETED.value: COMPLETED, Role.LIKED.value: LIKED}
SINCE = {**EXPOSED, Role.OPENED.value: OPENED, Role.COMPLETED.value: COMPLETED}
LIFETIME_RATE = f"lifetime_{Role.COMPLETED.value}_rate"
LIFETIME_WINDOWS = tuple(window.name for window in WINDOWS if window.half_life_us is None)  # since the first event


def _derived_columns() -> tuple[Column, ...]:
    columns = []
    for window in WINDOWS:
        columns += [
            Column(f"log_{name}.{window.name}", f"log1p of events ({_words(actions)}), {window.words}")
            for name, actions in LOGGED_COUNTS.items()
        ]
        columns += [Column(f"{head}_rate.{window.name}", f"smoothed {head} per impression, {window.words}") for head in HEADS]
        columns.append(Column(f"mean_dwell.{window.name}", f"log1p of mean seconds per impression, {window.words}"))
    columns += [Column(f"log_prior_{action}", f"log1p of undated {action} count") for action in PRIOR]
    columns += [Column(f"prior_{action}_rate", f"smoothed undated {action} per undated impression") for action in PRIOR[1:]]
    lifetime = f"smoothed completions ({_words(COMPLETED)}) per impression, dated and undated together"
    columns.append(Column(LIFETIME_RATE, lifetime))
    columns += [
        Column(f"log_since_{name}", f"log1p of seconds since the last event ({_words(actions)})")
        for name, actions in SINCE.items()
    ]
    return tuple(columns)


def _words(actions: tuple[str, ...]) -> str:
    return " or ".join(actions)


DERIVED_COLUMNS = _derived_columns()
DERIVED_NAMES = tuple(column.name for column in DERIVED_COLUMNS)


def catalogue() -> list[dict[str, str]]:
    """Every aggregate feature as {key, name, description}, for people and for the documentation test."""
    return [
        {"key": key.value, "name": f"{key.value}.{column.name}", "description": column.description}
        for key in Key
        for column in DERIVED_COLUMNS
    ]
