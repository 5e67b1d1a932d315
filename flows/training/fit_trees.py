"""Fit boosted trees on the same features as the heavy ranker: its peer, its teacher, and a part of the ensemble."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from feature_repo.feature_rows import HEADS, FeatureRows
from services.ranking.inputs import known_surfaces
from services.ranking.trees import Trees, tree_features

# Rounds by how often an action was taken: the common actions carry more rounds before they overfit than the rare ones do.
COMMON_SHARE = 0.05  # of the rows
SEVERAL = 1_000  # exposures
COMMON_ROUNDS, SEVERAL_ROUNDS, RARE_ROUNDS = 160, 110, 40
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
# Of a rare action there are some thousand positives: smaller trees, taken in smaller steps, fit less of their noise (on the
# days before those of `python -m tests.bench quality`: .001 AUC on likes, .002 on profile visits).
_RARE = {"learning_rate": 0.03, "num_leaves": 15, "min_data_in_leaf": 200, "feature_fraction": 0.3, "lambda_l2": 20.0}


def fit_trees(train: FeatureRows, *, seed: int, threads: int, heads: Collection[str] = HEADS) -> Trees:
    """One model for each of `heads` whose training rows hold both outcomes; the others answer their base rate."""
    import lightgbm as lgb

    surfaces = known_surfaces(train.product)
    features = tree_features(train, surfaces)
    width = features.shape[1]
    parameters = {**_PARAMETERS, "seed": seed, "num_threads": threads}
    categorical = [width - 2, width - 1]
    data = lgb.Dataset(features, label=train.labels[:, 0], categorical_feature=categorical, params=parameters)
    data.construct()
    models = {}
    for index, head in enumerate(HEADS):
        label = train.labels[:, index]
        if head in heads and label.min() != label.max():
            data.set_label(label)
            common = COMMON_SHARE <= label.mean() <= 1 - COMMON_SHARE
            rounds = COMMON_ROUNDS if common else SEVERAL_ROUNDS if label.sum() >= SEVERAL else RARE_ROUNDS
            models[head] = lgb.train(parameters if common else {**parameters, **_RARE}, data, num_boost_round=rounds)
    return Trees(models, train.labels.mean(axis=0).astype(np.float32), surfaces)
