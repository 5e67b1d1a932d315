"""What the approximate index loses on a bundle's own vectors: its recall against the exact one, and what it saves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from feature_repo.feature_rows import FeatureRows, UserFeatures
from flows.training.catalogue import Catalogue
from services.ranking.bundle import ModelBundle
from services.ranking.retrieval_index import EXACT_BELOW, ApproximateIndex, ExactIndex

DEPTHS = (50, 200, 500)
QUERIES = 300  # users at moments of theirs


def index_recall(
    bundle: ModelBundle,
    train: FeatureRows,
    rows: FeatureRows,
    *,
    seed: int,
    depths: Sequence[int] = DEPTHS,
    queries: int = QUERIES,
) -> dict[str, Any]:
    """Both indexes over all posts of `train`, asked with the user vectors of random `rows`.

    Keys: posts, queries, recall_at_<depth> (share of the exact index's posts that the approximate one finds; a depth beyond
    the posts means all of them), speed_ratio (queries a second, approximate over exact, of the deepest), build_s, and in_use:
    which one a mixer would take for so many posts. Raises ValueError where there is no row to ask with.
    """
    if not len(rows):
        raise ValueError("no rows to ask the indexes with: give the rows of the test days")
    catalogue = Catalogue.newest(train)
    keys, vectors = np.arange(len(catalogue)), bundle.post_vectors(catalogue)
    chosen = np.random.default_rng(seed).choice(len(rows), min(queries, len(rows)), replace=False)
    asked = [bundle.user_vector(_user(rows, int(row))) for row in chosen]
    exact = ExactIndex(keys, vectors)
    start = time.perf_counter()
    approximate = ApproximateIndex(keys, vectors)
    build_s = time.perf_counter() - start
    shares, laps = [], []
    for query in asked:
        (nearest, exact_s), (found, approximate_s) = (_timed(index, query, max(depths)) for index in (exact, approximate))
        shares.append([float(np.isin(nearest[:depth], found[:depth]).mean()) for depth in depths])
        laps.append((exact_s, approximate_s))
    exact_s, approximate_s = (median(times) for times in zip(*laps, strict=True))
    return {
        "posts": len(catalogue),
        "queries": len(asked),
        **{f"recall_at_{depth}": float(share) for depth, share in zip(depths, np.mean(shares, axis=0), strict=True)},
        "speed_ratio": round(exact_s / approximate_s, 2),
        "build_s": round(build_s, 3),
        "in_use": "approximate" if len(catalogue) >= EXACT_BELOW else "exact",
    }


def _user(rows: FeatureRows, row: int) -> UserFeatures:
    history = rows.history if len(rows.history) == 1 else rows.history.rows(np.array([row]))
    return UserFeatures(int(rows.user_id[row]), rows.blocks["user"][row : row + 1], history, known=True)


def _timed(index: ExactIndex | ApproximateIndex, query: np.ndarray, depth: int) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    found = index.search(query, depth)
    return found, time.perf_counter() - start
