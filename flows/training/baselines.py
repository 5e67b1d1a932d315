"""What the models must beat: global popularity, logistic regression and LightGBM on the same features."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from feature_repo.feature_rows import HEADS, FeatureRows
from flows.training.fit_light import fit_logistic
from services.ranking.calibration import sigmoid
from services.ranking.inputs import product_rows
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


# Rounds by head: the common actions carry more rounds before they overfit than the rare ones do.
ROUNDS = {"click": 160, "video_view": 160, "like": 60, "profile_click": 40}
RARE_ROUNDS = 20
_PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.06,
    "num_leaves": 31,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "verbose": -1,
    "deterministic": True,
    "force_col_wise": True,
}


def lightgbm(train: FeatureRows, rows: FeatureRows, *, seed: int, threads: int) -> np.ndarray:
    """`fit_lightgbm` on `train`, asked about `rows`; float32 (n, len(HEADS))."""
    return fit_lightgbm(train, seed=seed, threads=threads)(rows)


def fit_lightgbm(train: FeatureRows, *, seed: int, threads: int, heads: Collection[str] = HEADS) -> Predict:
    """Gradient-boosted trees on the dense blocks, product and topic, one model a head; the others answer their base rate."""
    import lightgbm as lgb

    features = _features(train)
    width = features.shape[1]
    parameters = {**_PARAMETERS, "seed": seed, "num_threads": threads}
    categorical = [width - 2, width - 1]
    data = lgb.Dataset(features, label=train.labels[:, 0], categorical_feature=categorical, params=parameters)
    data.construct()
    models: list[float | lgb.Booster] = []
    for index, head in enumerate(HEADS):
        label = train.labels[:, index]
        if head not in heads or label.min() == label.max():
            models.append(float(label.mean()))
            continue
        data.set_label(label)
        models.append(lgb.train(parameters, data, num_boost_round=ROUNDS.get(head, RARE_ROUNDS)))

    def predict(rows: FeatureRows) -> np.ndarray:
        asked = _features(rows)
        out = np.empty((len(rows), len(HEADS)), np.float32)
        for index, model in enumerate(models):
            out[:, index] = model if isinstance(model, float) else model.predict(asked, num_threads=threads)
        return out

    return predict


def fit_logistic_regression(train: FeatureRows) -> Predict:
    """Logistic regression on the normalised dense blocks and the product, one model a head."""
    normaliser = Normaliser.fit(train.blocks)
    blocks = {name: normaliser.apply(name, block) for name, block in train.blocks.items()}
    product = product_rows(train.product)
    models = [fit_logistic(blocks, product, train.labels[:, index].astype(np.float32)) for index in range(len(HEADS))]

    def predict(rows: FeatureRows) -> np.ndarray:
        return np.stack([sigmoid(model.logits(rows, normaliser)) for model in models], axis=1).astype(np.float32)

    return predict


def _features(rows: FeatureRows) -> np.ndarray:
    """float32 (n, dense + 2): the dense blocks, then product and topic as categories, NaN for none.

    LightGBM takes a negative category for none as well, but says so on standard output, where commands write their JSON.
    """
    categories = (np.where(column < 0, np.nan, column).astype(np.float32) for column in (rows.product, rows.topic))
    return np.column_stack([rows.dense(), *categories])
