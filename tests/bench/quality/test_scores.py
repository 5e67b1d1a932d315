"""Scores to probabilities, and what users liked in what order."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.feature_rows import HEADS
from services.ranking.calibration import sigmoid
from tests.bench.quality.positives import liked, past_likes
from tests.bench.quality.quality_rows_of import small_rows
from tests.bench.quality.score_map import ScoreMap


def test_a_map_finds_the_line_that_made_the_labels_and_keeps_a_rate_for_rows_without_a_score():
    random = np.random.default_rng(0)
    scores = random.normal(5.0, 2.0, 40_000)
    labels = (random.random(40_000) < sigmoid(0.7 * scores - 4.0)).astype(np.uint8)[:, None]
    scores[:8_000] = np.nan
    found = ScoreMap.fit(scores, labels)
    np.testing.assert_allclose(found.apply(np.array([3.0, 7.0]))[:, 0], sigmoid(np.array([-1.9, 0.9])), atol=0.02)
    assert found.apply(np.array([np.nan]))[0, 0] == pytest.approx(labels[:8_000].mean(), abs=1e-3)


def test_a_map_is_finite_where_no_row_has_a_score_or_one_outcome_is_missing():
    labels = np.array([[1, 0], [0, 0], [1, 0]], np.uint8)
    for scores in (np.full(3, np.nan), np.array([1.0, 2.0, 3.0]), np.ones(3)):
        p = ScoreMap.fit(scores, labels).apply(scores)
        assert np.isfinite(p).all() and ((p >= 0) & (p <= 1)).all()


def test_what_a_user_liked_stands_in_order_after_the_history_of_the_first_row():
    rows = small_rows(400).train
    pairs = liked(rows)
    good = [HEADS.index(head) for head in HEADS if head != "not_interested"]
    for user in np.unique(rows.user_id)[:20]:
        own = np.flatnonzero(rows.user_id == user)
        before = past_likes(rows.history.rows(own[:1]))[0]
        expected = [*before[before >= 0], *rows.post_id[own][rows.labels[own][:, good].any(axis=1)]]
        assert pairs.post_id[pairs.user_id == user].tolist() == expected
