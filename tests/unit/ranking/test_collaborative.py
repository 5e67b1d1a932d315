from dataclasses import replace

import numpy as np
import pytest

from feature_repo.feature_rows import HISTORY_LENGTH, History
from flows.training import fit_collaborative
from services.ranking.collaborative import VIEWS, WIDTH, CollaborativeVectors
from tests.synthetic_rows import synthetic_rows

POSTS, KINDS = 240, 4


def _met_by_taste(rows, seed: int = 0) -> History:
    """Undated histories: a user's kind decides which quarter of the posts is met, and watched."""
    random = np.random.default_rng(seed)
    history = History.empty(len(rows))
    kind = rows.user_id % KINDS
    own = random.random((len(rows), HISTORY_LENGTH)) < 0.9
    drawn = random.integers(0, POSTS // KINDS, own.shape) * KINDS
    history.post_id[:] = drawn + np.where(own, kind[:, None], random.integers(0, KINDS, own.shape))
    history.actions[:] = np.where(own, 2, 0)  # video_view
    return history


@pytest.fixture(scope="module")
def rows():
    drawn = synthetic_rows(4_000, users=900)
    return replace(drawn, history=_met_by_taste(drawn))


@pytest.fixture(scope="module")
def vectors(rows):
    return fit_collaborative.fit_collaborative(rows, seed=1)


def test_a_users_vector_points_to_the_posts_of_the_users_kind(rows, vectors):
    extended = vectors.extend(replace(rows, post_id=np.arange(len(rows)) % POSTS))
    match = extended.blocks["vector_match"].sum(axis=1)
    own = extended.post_id % KINDS == extended.user_id % KINDS
    assert np.quantile(match[own], 0.1) > np.quantile(match[~own], 0.9)


def test_no_outcome_of_a_row_is_in_the_vectors(rows, vectors):
    other = fit_collaborative.fit_collaborative(replace(rows, labels=1 - rows.labels), seed=1)
    for view in VIEWS:
        np.testing.assert_array_equal(other.reads[view], vectors.reads[view])


def test_dated_exposures_are_not_learned_from(rows, vectors):
    dated = replace(rows.history, age_s=np.zeros_like(rows.history.age_s))
    assert fit_collaborative.fit_collaborative(replace(rows, history=dated), seed=1) is None


def test_a_row_has_the_same_blocks_alone_and_among_others(rows, vectors):
    among, alone = vectors.extend(rows), vectors.extend(rows.take(np.array([17])))
    for name in ("user_vector", "post_vector", "vector_match"):
        np.testing.assert_array_equal(among.blocks[name][17], alone.blocks[name][0])


def test_a_shared_history_is_read_once_and_broadcast(rows, vectors):
    shared = synthetic_rows(30, shared=True)
    extended = vectors.extend(shared)
    assert extended.blocks["user_vector"].shape == (30, len(VIEWS) * WIDTH)
    assert extended.blocks["user_vector"].strides[0] == 0
    assert vectors.extend(extended) is extended


def test_unknown_posts_and_empty_histories_say_nothing(vectors):
    assert not vectors.post_block(np.array([-1, 10**9])).any()
    assert not vectors.user_block(History.empty(3)).any()


def test_vectors_round_trip_through_arrays(vectors):
    again = CollaborativeVectors.from_arrays(vectors.arrays())
    np.testing.assert_array_equal(again.post_block(np.arange(9)), vectors.post_block(np.arange(9)))
