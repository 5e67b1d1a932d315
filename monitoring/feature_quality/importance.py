"""What features are worth to a ranker: gradient-boosted trees are given all of them, and their gains are added up."""

from __future__ import annotations

import numpy as np

from feature_repo.heads import HEADS, judged_heads

RANKED_HEADS = 3  # the most common actions: of the others a sample says too little
ROUNDS = 60
_PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "feature_fraction": 0.2,  # many features say nearly the same: each gets its chance
    "lambda_l2": 5.0,
    "max_bin": 63,
    "verbose": -1,
    "deterministic": True,
    "force_col_wise": True,
}


def gains(features: np.ndarray, labels: np.ndarray, *, seed: int, threads: int) -> np.ndarray:
    """Share of the total gain that each feature earned, float64 (k,), summing to 1 (all 0 where no head could be learned).

    features: float32 (n, k), NaN allowed; labels: uint8 (n, len(HEADS)).
    """
    import lightgbm as lgb

    parameters = {**_PARAMETERS, "seed": seed, "num_threads": threads}
    data = lgb.Dataset(features, label=labels[:, 0], params=parameters, free_raw_data=True)
    data.construct()
    total = np.zeros(features.shape[1])
    for head in judged_heads(labels, RANKED_HEADS):
        label = labels[:, HEADS.index(head)]
        if label.min() == label.max():
            continue
        data.set_label(label)
        earned = lgb.train(parameters, data, num_boost_round=ROUNDS).feature_importance("gain")
        if earned.sum() > 0:
            total += earned / earned.sum()
    return total / total.sum() if total.sum() else total
