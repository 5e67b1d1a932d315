"""Soft targets for the heavy ranker: what boosted trees expect of each exposure, learned from other users' exposures.

A click is one draw from a probability near one half; the expectation of a second, differently made model says more about that
probability than the draw does, and a network that learns from both ranks better than from the draws alone (Hinton et al. 2015,
"Distilling the knowledge in a neural network"). The trees never see the exposures whose targets they give.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from feature_repo.feature_rows import FeatureRows
from feature_repo.heads import judged_heads, places
from flows.training.baselines import fit_lightgbm
from flows.training.negative_sampling import among_kept
from services.ranking.id_hashing import hash_ids

TAUGHT = 4  # heads: the most common ones; the rarer actions teach trees nothing
FOLDS = 2  # users are in one fold; more folds cost a fit each and gain within the noise of seeds
_FOLD_BITS = 16


def soft_targets(rows: FeatureRows, *, share: float, seed: int, threads: int, kept_negatives: float = 1.0) -> np.ndarray:
    """Targets float32 (n, len(HEADS)): `share` of the trees' expectation, the rest the label; untaught heads keep the label.

    The trees see all rows; where only a share of the negatives is learned from, their expectation is that among such rows.
    Deterministic in rows, seed and threads. Raises ValueError where `share` is outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the teacher's share is {share}; it lies between 0 (labels alone) and 1 (expectations alone)")
    targets = rows.labels.astype(np.float32)
    if share == 0:
        return targets
    fold = hash_ids(rows.user_id, _FOLD_BITS) % FOLDS
    taught = judged_heads(rows.labels, TAUGHT)
    if not taught:
        return targets
    # Folds side by side, a share of the threads each: trees of a few thousand rows a leaf leave a second thread waiting.
    beside = min(FOLDS, threads)

    def expect(held: int) -> None:
        asked, others = np.flatnonzero(fold == held), np.flatnonzero(fold != held)
        if len(asked) == 0 or len(others) == 0:
            return  # all users share a fold: nobody else's exposures to learn from
        expected = fit_lightgbm(rows.take(others), seed=seed, threads=threads // beside, heads=taught)(rows.take(asked))
        for head in places(taught):
            sampled = among_kept(expected[:, head], kept_negatives)
            targets[asked, head] = (1 - share) * targets[asked, head] + share * sampled

    with ThreadPoolExecutor(beside) as pool:
        list(pool.map(expect, range(FOLDS)))
    return targets
