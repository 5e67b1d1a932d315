"""Scorers and the selector, against the published formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.feature_rows import HEADS
from services.mixer.occurrence import occurrence
from services.mixer.scorers.author_diversity import AuthorDiversityScorer
from services.mixer.scorers.recency import RecencyScorer
from services.mixer.scorers.weighted import WeightedScorer
from services.mixer.selectors.top_scores import TopScoresSelector
from services.ranking.weights import preset_named, weighted_score
from tests.unit.mixer.posts import candidates, query


def test_author_diversity_has_the_published_factors():
    among = candidates([1, 2, 3, 4, 5], authors=[9, 9, 9, 9, 8], score=[1.0, 4.0, 3.0, 2.0, 0.5])
    written = AuthorDiversityScorer().score(query(), among)
    assert written["diversity_factor"].tolist() == [0.34375, 1.0, 0.625, 0.4375, 1.0]
    np.testing.assert_allclose(written["score"], among["score"] * written["diversity_factor"])


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1)), min_size=1, max_size=30))
def test_author_diversity_never_raises_a_score_and_keeps_an_authors_own_order(rows):
    authors, scores = [a for a, _ in rows], np.array([s for _, s in rows])
    new = AuthorDiversityScorer().score(query(), candidates(list(range(len(rows))), authors=authors, score=scores))["score"]
    assert np.all(new <= scores)
    for author in set(authors):
        own = np.flatnonzero(np.array(authors) == author)
        assert np.all(np.diff(new[own][np.argsort(-scores[own], kind="stable")]) <= 0)


@pytest.mark.parametrize("preset", ["balanced", "clicks_only"])
def test_weighted_follows_the_requests_preset(preset):
    predictions = np.random.default_rng(1).random((4, len(HEADS)), np.float32)
    written = WeightedScorer().score(query(preset=preset_named(preset)), candidates([1, 2, 3, 4], predictions=predictions))
    np.testing.assert_array_equal(written["score"], weighted_score(predictions, preset))


def test_recency_scores_by_publication():
    assert RecencyScorer().score(query(), candidates([1, 2], created_at_us=[2_000_000, 5_000_000]))["score"].tolist() == [2, 5]


def test_top_scores_breaks_ties_by_the_smaller_post_id():
    assert TopScoresSelector().select(query(), candidates([9, 3, 5], score=[1.0, 1.0, 2.0])).tolist() == [2, 1, 0]


@given(st.lists(st.integers(0, 5), max_size=40))
def test_occurrence_counts_equal_values_before(values):
    expected = [values[:i].count(value) for i, value in enumerate(values)]
    assert occurrence(np.array(values, np.int64)).tolist() == expected
