"""Blocks read off a history: what they say of one made by hand, and that sharing one among candidates changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.aggregates.derive import NEVER_S
from feature_repo.feature_rows import HEADS, HISTORY_LENGTH, History
from feature_repo.history_blocks import CONTEXT_COLUMNS, HistorySignals


def history(seed: int, length: int) -> History:
    random = np.random.default_rng(seed)
    made = History.empty(1)
    if length:
        made.post_id[0, -length:] = random.integers(0, 20, length)
        made.author_id[0, -length:] = random.integers(0, 5, length)
        made.topic[0, -length:] = random.integers(-1, 3, length)
        made.actions[0, -length:] = random.integers(0, 256, length)
        made.product[0, -length:] = random.integers(0, 4, length)
        made.age_s[0, -length:] = np.where(random.random(length) < 0.2, np.nan, random.random(length) * 1e6)
        made.dwell_s[0, -length:] = np.where(np.isnan(made.age_s[0, -length:]), 0.0, random.exponential(10.0, length))
    return made


@pytest.mark.parametrize("length", [0, 1, 7, HISTORY_LENGTH])
def test_matches_of_a_shared_history_are_those_of_repeated_ones(length):
    shared = history(length, length)
    candidates = np.random.default_rng(3).integers(-1, 25, 300)
    repeated = shared.rows(np.zeros(len(candidates), np.int64))
    for name in ("post_id", "author_id", "topic"):
        expected = HistorySignals(repeated).matches(getattr(repeated, name), candidates)
        found = HistorySignals(shared).matches(getattr(shared, name), candidates)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7, err_msg=name)
        assert found.dtype == np.float32


def column(context: np.ndarray, name: str) -> float:
    return context[0, CONTEXT_COLUMNS.index(name)]


def test_context_says_what_the_last_exposures_were_and_how_long_they_held():
    made = History.empty(1)
    click, view = (1 << HEADS.index(name) for name in ("click", "video_view"))
    made.post_id[0, -4:] = (1, 2, 3, 4)
    made.product[0, -4:] = (7, 8, 7, 8)
    made.actions[0, -4:] = (0, click | view, view, click)
    made.age_s[0, -4:] = (np.nan, 300.0, 200.0, 100.0)
    made.dwell_s[0, -4:] = (0.0, 1.5, 18.0, 40.0)
    context = HistorySignals(made).context(np.array([7], np.int16), np.array([0]))
    assert context.dtype == np.float32
    assert context.shape == (1, len(CONTEXT_COLUMNS))
    log_dwell = np.log1p([1.5, 18.0, 40.0])
    expected = {
        **{"last_opened": 1, "last_completed": 0, "last_same_product": 0, "last_log_dwell": log_dwell[2]},
        **{"second_last_opened": 0, "second_last_completed": 1, "second_last_same_product": 1},
        **{"second_last_log_dwell": log_dwell[1], "second_last_log_since": np.log1p(200.0)},
        **{"third_last_opened": 1, "third_last_completed": 1, "third_last_same_product": 0},
        **{"third_last_log_dwell": log_dwell[0], "third_last_log_since": np.log1p(300.0)},
        **{"fourth_last_opened": 0, "fourth_last_same_product": 1, "fourth_last_log_dwell": 0.0},
        "fourth_last_log_since": np.log1p(NEVER_S),
        # Three dated exposures, and the belief that is worth three more.
        "log_dwell_mean": (log_dwell.sum() + 3 * 2.0) / 6,
        "dwell_share_below_3s": (1 + 3 * 0.4) / 6,
        "dwell_share_from_18s": (2 + 3 * 0.28) / 6,
        "product_log_dwell_mean": (log_dwell[1] + 3 * 2.0) / 4,
        "idle": np.log1p(60.0),
    }
    for name, value in expected.items():
        assert column(context, name) == pytest.approx(value, rel=1e-6), name


def test_idle_is_below_zero_where_the_newest_exposure_was_watched_for_longer_than_it_is_old():
    """A clock of the app that runs ahead, or a dwell that was measured in another way."""
    made = history(1, 3)
    made.age_s[0, -1], made.dwell_s[0, -1] = 10.0, 25.0
    assert column(HistorySignals(made).context(np.zeros(1, np.int16), np.zeros(1, np.int64)), "idle") == -np.log1p(
        np.float32(15)
    )


def test_context_of_an_empty_history_is_finite_and_believes_in_the_usual_dwell():
    context = HistorySignals(History.empty(1)).context(np.zeros(1, np.int16), np.zeros(1, np.int64))
    assert np.isfinite(context).all()
    assert column(context, "log_dwell_mean") == column(context, "product_log_dwell_mean") == 2.0
    assert column(context, "idle") == pytest.approx(np.log1p(NEVER_S))


@pytest.mark.parametrize("length", [0, 1, 7, HISTORY_LENGTH])
def test_context_of_a_shared_history_is_that_of_repeated_ones(length):
    shared, product = history(length, length), np.arange(6, dtype=np.int32) - 1
    now_us = np.full(len(product), 10**15)
    repeated = shared.rows(np.zeros(len(product), np.int64))
    expected, found = (HistorySignals(one).context(product, now_us) for one in (repeated, shared))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
