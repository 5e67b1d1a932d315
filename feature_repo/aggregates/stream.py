"""The stream engine: fold a micro-batch of events into packed states. The result does not depend on the events' order.

Held equal to the batch engine by a test; both follow `catalogue.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.aggregates.catalogue import (
    AGED,
    DWELL,
    DWELL_CAP_S,
    MEASURES,
    MICROSECONDS,
    NEVER,
    PRIOR,
    STATE_INDEX,
    WINDOWS,
)
from feature_repo.blocks import States
from feature_repo.contracts import Action


@dataclass(frozen=True)
class EventBatch:
    """k events as columns."""

    action: np.ndarray  # object (k,) action names
    amount: np.ndarray  # float64 (k,) the event's value, NaN where it has none
    dated: np.ndarray  # bool (k,) False: undated history
    at_us: np.ndarray  # int64 (k,)


def fold(states: States, row: np.ndarray, events: EventBatch) -> States:
    """`states` (m keys, float64) with `events` folded in; row[i] in [0, m) is the key of event i. Inputs stay untouched."""
    state = states.state.astype(np.float64)
    updated_at = states.updated_at.copy()
    np.maximum.at(updated_at, row, events.at_us)
    _fade(state, (updated_at - states.updated_at) / MICROSECONDS)
    behind_s = (updated_at[row] - events.at_us) / MICROSECONDS  # (k,) how old each event is at its key's new time
    _add_measures(state, row, behind_s, events)
    _add_undated(state, row, events)
    _refresh_ages(state, row, behind_s, events)
    return States(state, updated_at)


def _fade(state: np.ndarray, elapsed_s: np.ndarray) -> None:
    """Bring sums and ages forward by `elapsed_s` (m,), in place."""
    for index, window in enumerate(WINDOWS):
        if window.half_life_us is not None:
            columns = slice(index * len(MEASURES), (index + 1) * len(MEASURES))
            state[:, columns] *= np.exp2(-elapsed_s * MICROSECONDS / window.half_life_us)[:, None]
    for action in AGED:
        age = state[:, STATE_INDEX[f"age.{action}"]]
        np.add(age, elapsed_s, out=age, where=age >= 0)


def _add_measures(state: np.ndarray, row: np.ndarray, behind_s: np.ndarray, events: EventBatch) -> None:
    measure = np.array([_MEASURE_OF.get(action, -1) for action in events.action], np.int64)
    counted = events.dated & (measure >= 0)
    seconds = np.clip(np.nan_to_num(events.amount, nan=0.0) / 1000.0, 0.0, DWELL_CAP_S)
    amount = np.where(measure == MEASURES.index(DWELL), seconds, 1.0)
    for index, window in enumerate(WINDOWS):
        weight = 1.0 if window.half_life_us is None else np.exp2(-behind_s * MICROSECONDS / window.half_life_us)
        added = (amount * weight)[counted]
        np.add.at(state, (row[counted], index * len(MEASURES) + measure[counted]), added)


def _add_undated(state: np.ndarray, row: np.ndarray, events: EventBatch) -> None:
    for action in PRIOR:
        chosen = ~events.dated & (events.action == action)
        np.add.at(state[:, STATE_INDEX[f"prior_{action}"]], row[chosen], 1.0)


def _refresh_ages(state: np.ndarray, row: np.ndarray, behind_s: np.ndarray, events: EventBatch) -> None:
    for action in AGED:
        chosen = events.dated & (events.action == action)
        column = STATE_INDEX[f"age.{action}"]
        age = np.where(state[:, column] < 0, np.inf, state[:, column])
        np.minimum.at(age, row[chosen], behind_s[chosen])
        state[:, column] = np.where(np.isinf(age), NEVER, age)


_MEASURE_OF = {name: index for index, name in enumerate(MEASURES) if name != DWELL} | {
    Action.DWELL.value: MEASURES.index(DWELL)
}
