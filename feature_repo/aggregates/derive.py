"""From a packed state and the moment of use to the model's columns. The only implementation: training, snapshot, request."""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.catalogue import (
    AGED,
    DERIVED_COLUMNS,
    DWELL,
    LOGGED_COUNTS,
    MEASURES,
    MICROSECONDS,
    PRIOR,
    PRIOR_RATES,
    PRIOR_STRENGTH,
    STATE_INDEX,
    STATE_WIDTH,
    WINDOWS,
)
from feature_repo.feature_rows import HEADS

NEVER_S = 365.0 * 86_400  # an event that never happened counts as a year ago

_COUNTS = np.array([MEASURES.index(action) for action in LOGGED_COUNTS])
_HEADS = np.array([MEASURES.index(head) for head in HEADS])
_IMPRESSION = MEASURES.index("impression")
_DWELL = MEASURES.index(DWELL)
_RATES = np.array([PRIOR_RATES[head] for head in HEADS], np.float32)
_PRIOR = np.array([STATE_INDEX[f"prior_{action}"] for action in PRIOR])
_AGES = np.array([STATE_INDEX[f"age.{action}"] for action in AGED])
_PRIOR_HEAD_RATES = np.array([PRIOR_RATES[action] for action in PRIOR[1:]], np.float32)
_HALF_LIVES_S = np.array(
    [np.inf if window.half_life_us is None else window.half_life_us / MICROSECONDS for window in WINDOWS], np.float32
)


def derive(state: np.ndarray, updated_at: np.ndarray, now_us: np.ndarray | int) -> np.ndarray:
    """Columns `DERIVED_COLUMNS` at `now_us`.

    state: float (n, STATE_WIDTH); updated_at: int64 (n,) microseconds; now_us: int64 (n,) or one int.
    Returns float32 (n, len(DERIVED_COLUMNS)). A `now_us` before `updated_at` counts as `updated_at`.
    """
    if state.shape[1] != STATE_WIDTH:
        raise ValueError(f"state has {state.shape[1]} columns, the catalogue has {STATE_WIDTH}; rebuild the offline tables")
    state = state.astype(np.float32, copy=False)
    elapsed_s = (np.maximum(np.asarray(now_us, np.int64) - updated_at, 0) / MICROSECONDS).astype(np.float32)[:, None]  # (n, 1)
    out = np.empty((len(state), len(DERIVED_COLUMNS)), np.float32)
    at = 0
    for index, half_life_s in enumerate(_HALF_LIVES_S):
        sums = state[:, index * len(MEASURES) : (index + 1) * len(MEASURES)]
        if np.isfinite(half_life_s):
            sums = sums * np.exp2(-elapsed_s / half_life_s)
        at = _window_columns(sums, out, at)
    at = _prior_columns(state, out, at)
    ages = state[:, _AGES]
    out[:, at:] = np.log1p(np.where(ages < 0, np.float32(NEVER_S), ages + elapsed_s))
    return out


def lifetime_rate(state: np.ndarray, head: str) -> np.ndarray:
    """Smoothed `head` per impression over dated and undated exposures, float32 (n,)."""
    head_sum = state[:, MEASURES.index(head)] + (state[:, STATE_INDEX[f"prior_{head}"]] if head in PRIOR else 0.0)
    impressions = state[:, _IMPRESSION] + (state[:, _PRIOR[0]] if head in PRIOR else 0.0)
    return _smoothed(head_sum, impressions, np.float32(PRIOR_RATES[head])).astype(np.float32)


def _window_columns(sums: np.ndarray, out: np.ndarray, at: int) -> int:
    """Write one window's log counts, rates and mean dwell; returns the next free column."""
    impressions = sums[:, _IMPRESSION, None]
    end = at + len(_COUNTS)
    np.log1p(sums[:, _COUNTS], out=out[:, at:end])
    out[:, end : end + len(_HEADS)] = _smoothed(sums[:, _HEADS], impressions, _RATES)
    end += len(_HEADS)
    out[:, end] = np.log1p(sums[:, _DWELL] / (impressions[:, 0] + np.float32(1.0)))
    return end + 1


def _prior_columns(state: np.ndarray, out: np.ndarray, at: int) -> int:
    prior = state[:, _PRIOR]
    end = at + len(PRIOR)
    np.log1p(prior, out=out[:, at:end])
    out[:, end : end + len(PRIOR) - 1] = _smoothed(prior[:, 1:], prior[:, :1], _PRIOR_HEAD_RATES)
    end += len(PRIOR) - 1
    out[:, end] = lifetime_rate(state, "video_view")
    return end + 1


def _smoothed(count: np.ndarray, impressions: np.ndarray, rate: np.ndarray | np.float32) -> np.ndarray:
    strength = np.float32(PRIOR_STRENGTH)
    return (count + strength * rate) / (impressions + strength)
