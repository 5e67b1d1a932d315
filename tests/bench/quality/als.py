"""Peer: matrix factorisation of who liked what, by alternating least squares (Hu, Koren and Volinsky 2008).

Posts' factors are frozen at the split like every model's weights. A user's are solved for anew from what the user had liked
before each row, so the peer follows its users through the test days as the others do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from feature_repo.feature_rows import FeatureRows
from tests.bench.quality.measured_heads import Predict, measured_labels
from tests.bench.quality.peer import NotRun
from tests.bench.quality.positives import liked, past_likes
from tests.bench.quality.score_map import ScoreMap
from tests.bench.quality.validation import older_and_newest

# Of eleven settings, the one whose click AUC was best on the newest training days; all lay within .011 of each other.
FACTORS, ITERATIONS, REGULARISATION, CONFIDENCE = 32, 15, 50.0, 10.0
_ROWS_PER_SOLVE = 8_192


def fit(train: FeatureRows, seed: int, threads: int, folder: Path) -> dict[str, Predict]:
    """The map from scores to probabilities comes from the newest training days, scored by factors of the days before them."""
    older, newest = older_and_newest(train)
    asked = train.take(newest)
    scores = Factors.fit(train.take(older), seed, threads).scores(asked)
    to_probability = ScoreMap.fit(scores, measured_labels(asked))
    factors = Factors.fit(train, seed, threads)
    return {"implicit ALS": lambda rows: to_probability.apply(factors.scores(rows))}


class Factors:
    """Posts' factors, and users' as of each row."""

    def __init__(self, model, posts: np.ndarray) -> None:
        self._model = model
        self._posts = posts  # ascending ids, in the order of the factors

    @staticmethod
    def fit(rows: FeatureRows, seed: int, threads: int) -> Factors:
        """Factorise what was liked in `rows` and their histories. Raises NotRun where the package is not installed."""
        try:
            from implicit.cpu.als import AlternatingLeastSquares
        except ImportError as error:
            raise NotRun("the package `implicit` is not installed") from error
        pairs = liked(rows)
        users, user = np.unique(pairs.user_id, return_inverse=True)
        posts, post = np.unique(pairs.post_id, return_inverse=True)
        model = AlternatingLeastSquares(
            FACTORS, REGULARISATION, CONFIDENCE, iterations=ITERATIONS, num_threads=threads, random_state=seed
        )
        model.fit(_counted(user, post, (len(users), len(posts))), show_progress=False)
        return Factors(model, posts)

    def scores(self, rows: FeatureRows) -> np.ndarray:
        """float32 (n,): product of the post's factors and the user's before the row; NaN for a new post or without a like."""
        starts = range(0, len(rows), _ROWS_PER_SOLVE)
        parts = [self._part(rows.take(np.arange(at, min(at + _ROWS_PER_SOLVE, len(rows))))) for at in starts]
        return np.concatenate([np.empty(0, np.float32), *parts])

    def _part(self, rows: FeatureRows) -> np.ndarray:
        likes = past_likes(rows.history)
        place = np.minimum(np.searchsorted(self._posts, likes), len(self._posts) - 1)
        row, column = np.nonzero((self._posts[place] == likes) & (likes >= 0))
        matrix = _counted(row, place[row, column], (len(rows), len(self._posts)))
        own = self._model.recalculate_user(np.arange(len(rows)), matrix)
        post = np.minimum(np.searchsorted(self._posts, rows.post_id), len(self._posts) - 1)
        score = (own * self._model.item_factors[post]).sum(axis=1)
        scored = (self._posts[post] == rows.post_id) & (np.diff(matrix.indptr) > 0)
        return np.where(scored, score, np.nan).astype(np.float32)


def _counted(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    """How often each pair is there."""
    matrix = csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=shape)
    matrix.sum_duplicates()
    return matrix
