"""From a packed state and the moment of use to the model's columns. The only implementation: training, snapshot, request."""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.ranking_state import (
    AGED,
    DERIVED_COLUMNS,
    DWELL,
    LOGGED_COUNTS,
    MEASURES,
    MICROSECONDS,
    PRIOR,
    PRIOR_STRENGTH,
    SINCE,
    STATE_INDEX,
    STATE_WIDTH,
    WINDOWS,
)
from feature_repo.heads import COMPLETED, HEADS, PRIOR_RATES, prior_rate

NEVER_S = 365.0 * 86_400  # an event that never happened counts as a year ago

# Rows worked on at once: their columns stay in the processor's cache.
ROWS_AT_ONCE = 2_048

_SIZE = len(MEASURES)
_IMPRESSION, _DWELL = MEASURES.index("impression"), MEASURES.index(DWELL)
_PRIOR_ROWS = slice(STATE_INDEX[f"prior_{PRIOR[0]}"], STATE_INDEX[f"prior_{PRIOR[-1]}"] + 1)
_AGE_ROWS = slice(STATE_INDEX[f"age.{AGED[0]}"], STATE_INDEX[f"age.{AGED[-1]}"] + 1)
_COUNTS = [[MEASURES.index(action) for action in actions] for actions in LOGGED_COUNTS.values()]
_SINCE = [[AGED.index(action) for action in actions] for actions in SINCE.values()]  # places among the ages
_HEADS = [MEASURES.index(head) for head in HEADS]
_RATES = np.array([PRIOR_RATES[head] for head in HEADS], np.float32)[:, None]
_PRIOR_HEAD_RATES = np.array([PRIOR_RATES[action] for action in PRIOR[1:]], np.float32)[:, None]
_HALF_LIVES_S = [None if window.half_life_us is None else np.float32(window.half_life_us / MICROSECONDS) for window in WINDOWS]


def derive(state: np.ndarray, updated_at: np.ndarray, now_us: np.ndarray | int) -> np.ndarray:
    """Columns `DERIVED_COLUMNS` at `now_us`.

    state: float (n, STATE_WIDTH); updated_at: int64 (n,) microseconds; now_us: int64 (n,) or one int.
    Returns float32 (n, len(DERIVED_COLUMNS)). A `now_us` before `updated_at` counts as `updated_at`.
    """
    if state.shape[1] != STATE_WIDTH:
        raise ValueError(f"state has {state.shape[1]} columns, the catalogue has {STATE_WIDTH}; rebuild the offline tables")
    elapsed_s = (np.maximum(np.asarray(now_us, np.int64) - updated_at, 0) / MICROSECONDS).astype(np.float32)
    out = np.empty((len(state), len(DERIVED_COLUMNS)), np.float32)
    for start in range(0, len(state), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        # Turned, so that every formula runs over one long row a column instead of thousands of short ones.
        turned = np.array(state[rows].T, np.float32, order="C")
        out[rows] = _turned_columns(turned, elapsed_s[rows]).T
    return out


def _turned_columns(state: np.ndarray, elapsed_s: np.ndarray) -> np.ndarray:
    """DERIVED_COLUMNS as rows, float32 (columns, n). state: float32 (STATE_WIDTH, n), overwritten; elapsed_s: float32 (n,)."""
    out = np.empty((len(DERIVED_COLUMNS), state.shape[1]), np.float32)
    at = 0
    for index, half_life_s in enumerate(_HALF_LIVES_S):
        sums = state[index * _SIZE : (index + 1) * _SIZE]
        if half_life_s is not None:
            sums *= np.exp2(-elapsed_s / half_life_s)
        at = _window_rows(sums, out, at)
    at = _prior_rows(state, out, at)
    ages = state[_AGE_ROWS]
    since = np.where(ages < 0, np.float32(NEVER_S), ages + elapsed_s)
    for row, group in enumerate(_SINCE, start=at):
        np.log1p(since[group].min(axis=0), out=out[row])
    return out


def _window_rows(sums: np.ndarray, out: np.ndarray, at: int) -> int:
    """Write one window's log counts, rates and mean dwell; returns the next free row."""
    impressions = sums[_IMPRESSION]
    end = at + len(_COUNTS)
    for row, group in enumerate(_COUNTS, start=at):
        np.log1p(sums[group].sum(axis=0), out=out[row])
    out[end : end + len(_HEADS)] = _smoothed(sums[_HEADS], impressions, _RATES)
    end += len(_HEADS)
    np.log1p(sums[_DWELL] / (impressions + np.float32(1.0)), out=out[end])
    return end + 1


def _prior_rows(state: np.ndarray, out: np.ndarray, at: int) -> int:
    prior = state[_PRIOR_ROWS]
    end = at + len(PRIOR)
    np.log1p(prior, out=out[at:end])
    out[end : end + len(PRIOR) - 1] = _smoothed(prior[1:], prior[0], _PRIOR_HEAD_RATES)
    end += len(PRIOR) - 1
    out[end] = _lifetime_rate(state, COMPLETED)
    return end + 1


def _lifetime_rate(state: np.ndarray, heads: tuple[str, ...]) -> np.ndarray:
    """Smoothed `heads` per impression over dated and undated exposures, float32 (n,). state: (STATE_WIDTH, n)."""
    dated = [MEASURES.index(head) for head in heads]
    undated = [STATE_INDEX[f"prior_{head}"] for head in heads if head in PRIOR]
    impressions = state[_IMPRESSION] + (state[_PRIOR_ROWS.start] if undated else 0.0)
    acted = state[[*dated, *undated]].sum(axis=0)
    return _smoothed(acted, impressions, np.float32(prior_rate(heads))).astype(np.float32, copy=False)


def _smoothed(count: np.ndarray, impressions: np.ndarray, rate: np.ndarray | np.float32) -> np.ndarray:
    strength = np.float32(PRIOR_STRENGTH)
    return (count + strength * rate) / (impressions + strength)
