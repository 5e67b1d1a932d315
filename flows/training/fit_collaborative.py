"""Fit collaborative vectors on what users had met before their first training row: no row's own outcome is in its features."""

from __future__ import annotations

import numpy as np

from feature_repo.feature_rows import FeatureRows
from services.ranking.collaborative import VIEWS, WATCHED, WIDTH, CollaborativeVectors

LEAST_PAIRS = 20_000  # of users and posts; fewer say nothing that counts and identity do not
# Belief against the noise of few meetings, in meetings: posts met rarely and users of little history are drawn in.
POST_BELIEF, USER_BELIEF = 10.0, 1.0


def fit_collaborative(rows: FeatureRows, seed: int) -> CollaborativeVectors | None:
    """Vectors from the histories that stand before all rows, or None where these are too few.

    Read is each user's history at the first of the user's rows, and of it the exposures that are known by their order alone:
    they lie before every row of every user.
    """
    order = np.lexsort((rows.occurred_at, rows.user_id))
    first = order[np.r_[True, np.diff(rows.user_id[order]) != 0]]
    history = rows.history.rows(first)
    before = (history.post_id >= 0) & np.isnan(history.age_s)
    user, place = np.nonzero(before)
    if len(user) < LEAST_PAIRS:
        return None
    post_id, post = np.unique(history.post_id[user, place], return_inverse=True)
    watched = (history.actions[user, place] & WATCHED) > 0
    if len(post_id) <= 2 * WIDTH or watched.sum() < LEAST_PAIRS // 4:
        return None
    shape = (len(first), len(post_id))
    met = {"shown": slice(None), "watched": watched}
    factors = {view: _factors(user[met[view]], post[met[view]], shape, seed) for view in VIEWS}
    return CollaborativeVectors(
        post_id, {view: reads for view, (reads, _) in factors.items()}, {view: own for view, (_, own) in factors.items()}
    )


def _factors(user: np.ndarray, post: np.ndarray, shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What a meeting adds to a user and what a post is, float32 (posts, WIDTH) both, of the meetings (user[i], post[i])."""
    import scipy.sparse as sparse
    from sklearn.utils.extmath import randomized_svd

    met = sparse.csr_matrix((np.ones(len(user), np.float32), (user, post)), shape=shape)
    met.data[:] = 1.0  # meeting twice is no more than meeting
    by_post = 1.0 / np.sqrt(np.asarray(met.sum(axis=0)).ravel() + POST_BELIEF)
    by_user = 1.0 / np.sqrt(np.asarray(met.sum(axis=1)).ravel() + USER_BELIEF)
    scaled = sparse.diags(by_user) @ met @ sparse.diags(by_post)
    _, size, right = randomized_svd(scaled, WIDTH, random_state=seed)
    return (by_post[:, None] * right.T).astype(np.float32), (right.T * size).astype(np.float32)
