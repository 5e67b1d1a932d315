"""What the lists that a model would have shown are like: how much of the catalogue, how novel, how even among authors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from feature_repo.feature_rows import FeatureRows
from services.ranking.weights import DEFAULT_PRESET, weighted_score

DEPTH = 10


def list_figures(
    predictions: Mapping[str, np.ndarray], rows: FeatureRows, user_day: np.ndarray, exposures_before: Mapping[int, int]
) -> dict[str, dict[str, float]]:
    """model -> figures of its ten best rows of every user-day by the default weight preset.

    coverage: share of the file's posts that stand in some list. novelty_bits: mean -log2 of a listed post's share of all
    exposures before the file (one is added to every post's). author_gini: 0 where every author of the file is listed equally
    often, towards 1 where few have all. The logged rows are all there is to choose from, so models differ little on short days.
    """
    return {
        name: _figures(weighted_score(p, DEFAULT_PRESET), rows, user_day, exposures_before) for name, p in predictions.items()
    }


def _figures(scores: np.ndarray, rows: FeatureRows, user_day: np.ndarray, before: Mapping[int, int]) -> dict[str, float]:
    order = np.lexsort((-scores, user_day))
    grouped = user_day[order]
    start = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
    rank = np.arange(len(order)) - np.repeat(start, np.diff(np.r_[start, len(order)]))
    listed = order[rank < DEPTH]
    posts, times = np.unique(rows.post_id[listed], return_counts=True)
    total = sum(before.values()) + len(before) + 1
    bits = -np.log2([(before.get(post, 0) + 1) / total for post in posts.tolist()])
    return {
        "coverage": len(posts) / len(np.unique(rows.post_id)),
        "novelty_bits": float(np.average(bits, weights=times)),
        "author_gini": gini(_times_listed(rows.author_id, listed)),
    }


def _times_listed(author_id: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """How often each author of the file stands in a list, int64, zeros included."""
    authors, inverse = np.unique(author_id, return_inverse=True)
    return np.bincount(inverse[listed], minlength=len(authors))


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of counts (n,) >= 0; 0 where all are zero."""
    ordered = np.sort(counts).astype(np.float64)
    total = ordered.sum()
    if total == 0:
        return 0.0
    place = np.arange(1, len(ordered) + 1)
    return float((2 * place - len(ordered) - 1) @ ordered / (len(ordered) * total))
