"""What the models must beat: global popularity, logistic regression and LightGBM on the same features."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from feature_repo.feature_rows import HEADS, FeatureRows
from flows.training.fit_light import fit_logistic
from flows.training.fit_trees import fit_trees
from services.ranking.calibration import sigmoid
from services.ranking.normalise import Normaliser

# Probabilities of all heads, float32 (n, len(HEADS)), of n rows.
Predict = Callable[[FeatureRows], np.ndarray]

PRIOR_EXPOSURES = 20.0  # what the global rate is worth against a post's own


def popularity(train: FeatureRows, rows: FeatureRows) -> np.ndarray:
    """Smoothed rate of each action per post over the training rows; float32 (n, len(HEADS)). New posts get the global rate."""
    global_rate = train.labels.mean(axis=0)
    posts, inverse = np.unique(train.post_id, return_inverse=True)
    shown = np.bincount(inverse, minlength=len(posts))
    acted = np.stack([np.bincount(inverse, weights=label, minlength=len(posts)) for label in train.labels.T], axis=1)
    rate = (acted + PRIOR_EXPOSURES * global_rate) / (shown[:, None] + PRIOR_EXPOSURES)
    at = np.minimum(np.searchsorted(posts, rows.post_id), len(posts) - 1)
    known = posts[at] == rows.post_id
    return np.where(known[:, None], rate[at], global_rate).astype(np.float32)


def lightgbm(train: FeatureRows, rows: FeatureRows, *, seed: int, threads: int, heads: Collection[str] = HEADS) -> np.ndarray:
    """`fit_lightgbm` on `train`, asked about `rows`; float32 (n, len(HEADS)), NaN for all but `heads`."""
    found = fit_lightgbm(train, seed=seed, threads=threads, heads=heads)(rows)
    return np.where([head in heads for head in HEADS], found, np.float32(np.nan))


def fit_lightgbm(train: FeatureRows, *, seed: int, threads: int, heads: Collection[str] = HEADS) -> Predict:
    """Gradient-boosted trees on the dense blocks, product and topic, one model a head; the others answer their base rate."""
    trees = fit_trees(train, seed=seed, threads=threads, heads=heads)
    return lambda rows: trees.predict(rows, threads)


def fit_logistic_regression(train: FeatureRows) -> Predict:
    """Logistic regression on the normalised dense blocks and the product, one model a head."""
    normaliser = Normaliser.fit(train.blocks)
    blocks = {name: normaliser.apply(name, block) for name, block in train.blocks.items()}
    models = [fit_logistic(blocks, train.product, train.labels[:, index].astype(np.float32)) for index in range(len(HEADS))]

    def predict(rows: FeatureRows) -> np.ndarray:
        return np.stack([sigmoid(model.logits(rows, normaliser)) for model in models], axis=1).astype(np.float32)

    return predict
