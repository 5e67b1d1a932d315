"""Peer: LightGBM, tuned by random search on the newest training days and then fitted on all of them.

The features are those of our rankers with product and topic as categories. The first trial is the hand-set one that our own
teacher and ensemble use; `click` and `video_view` each take the trial that was best for them, the rare actions the one that was
best for both, and every action has the number of rounds at which it stopped gaining.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.feature_rows import HEADS, FeatureRows
from flows.steps.progress import announce
from flows.training.learned_rows import rows_fingerprint
from infra.storage import replace_atomically
from services.ranking.inputs import known_surfaces
from services.ranking.trees import Trees, tree_features
from tests.bench.quality.measured_heads import MEASURED, Predict, measured
from tests.bench.quality.validation import older_and_newest

NAME = "LightGBM"
TRIALS = 32
TUNED = ("click", "video_view")
RARE = tuple(head for head in MEASURED if head not in TUNED)
MOST_ROUNDS, PATIENCE = 500, 25
SEARCH_SEED = 11  # one search serves all seeds: they differ in the final fit
_FIXED = {
    "objective": "binary",
    "metric": "binary_logloss",
    "bagging_freq": 1,
    "max_bin": 127,
    "feature_pre_filter": False,  # or the rows' bins would hold to one trial's min_data_in_leaf
    "verbose": -1,
    "deterministic": True,
    "force_col_wise": True,
}
HAND_SET = {
    "learning_rate": 0.06,
    "num_leaves": 31,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "lambda_l2": 5.0,
    "cat_smooth": 10.0,
    "path_smooth": 0.0,
}


@dataclass(frozen=True)
class Tuned:
    """What the search found: parameters and rounds by action."""

    parameters: dict[str, dict[str, Any]]
    rounds: dict[str, int]


def fit(train: FeatureRows, seed: int, threads: int, folder: Path) -> dict[str, Predict]:
    """The final fit; a search that is not done yet is done first, its trials kept in `folder`'s parent for all seeds."""
    found = search(train, folder.parent, threads)
    trees = _final(train, found, seed, threads)
    return {NAME: measured(lambda rows: trees.predict(rows, threads))}


def search(train: FeatureRows, folder: Path, threads: int, trials: int = TRIALS) -> Tuned:
    """The best of `trials` trials by log loss on the newest training days; a broken search carries on after its last trial."""
    file = folder / f"trials-{rows_fingerprint(train)}-{_search_space()}.json"
    done = json.loads(file.read_text()) if file.exists() else []
    if len(done) < trials:
        data = _SearchData.of(train, threads)
        for number in range(len(done), trials):
            announce(f"{NAME}: trial {number + 1} of {trials}")
            done.append(data.trial(drawn(number), TUNED, threads))
            _keep(file, done)
        del data
    done = done[:trials]
    best = {head: min(done, key=lambda one: one["losses"].get(head, np.inf)) for head in TUNED}
    shared = min(done, key=lambda one: sum(one["losses"].values()))
    if "rare_rounds" not in shared:
        announce(f"{NAME}: rounds of the rare actions")
        shared["rare_rounds"] = _SearchData.of(train, threads).trial(shared["parameters"], RARE, threads)["rounds"]
        _keep(file, done)
    parameters = {**{head: best[head]["parameters"] for head in TUNED}, **{head: shared["parameters"] for head in RARE}}
    rounds = {**{head: best[head]["rounds"].get(head, 1) for head in TUNED}, **shared["rare_rounds"]}
    return Tuned(parameters, rounds)


def drawn(number: int) -> dict[str, Any]:
    """Parameters of trial `number`; trial 0 is the hand-set one."""
    if number == 0:
        return HAND_SET
    random = np.random.default_rng([SEARCH_SEED, number])

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(random.uniform(np.log(low), np.log(high))))

    return {
        "learning_rate": round(log_uniform(0.04, 0.12), 4),
        "num_leaves": round(log_uniform(8, 63)),
        "min_data_in_leaf": round(log_uniform(20, 600)),
        "feature_fraction": round(random.uniform(0.2, 0.7), 3),
        "bagging_fraction": round(random.uniform(0.5, 1.0), 3),
        "lambda_l2": round(log_uniform(0.1, 100.0), 3),
        "cat_smooth": round(log_uniform(1.0, 100.0), 2),
        "path_smooth": round(log_uniform(0.1, 30.0), 2) if random.random() < 0.5 else 0.0,
    }


def _search_space() -> str:
    """8 hex digits that change when what is searched does: trials of another search are not taken for this one's."""
    decided = json.dumps([_FIXED, MOST_ROUNDS, PATIENCE, TUNED, [drawn(number) for number in range(TRIALS)]])
    return hashlib.sha256(decided.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class _SearchData:
    """The older and the newest training days in LightGBM's bins, made once for all trials."""

    older: Any
    newest: Any
    labels: tuple[np.ndarray, np.ndarray]

    @staticmethod
    def of(train: FeatureRows, threads: int) -> _SearchData:
        import lightgbm as lgb

        old, new = older_and_newest(train)
        features = tree_features(train, known_surfaces(train.product))
        options = {"params": {**_FIXED, "num_threads": threads}, "categorical_feature": _categories(features)}
        older = lgb.Dataset(features[old], label=train.labels[old, 0], **options).construct()
        newest = lgb.Dataset(features[new], label=train.labels[new, 0], reference=older, **options).construct()
        return _SearchData(older, newest, (train.labels[old], train.labels[new]))

    def trial(self, parameters: dict[str, Any], heads: tuple[str, ...], threads: int) -> dict[str, Any]:
        """parameters, losses and rounds by head; a head with one outcome only is left out."""
        import lightgbm as lgb

        losses, rounds = {}, {}
        for head in heads:
            old, new = (labels[:, HEADS.index(head)] for labels in self.labels)
            if old.min() == old.max() or len(new) == 0:
                continue
            self.older.set_label(old)
            self.newest.set_label(new)
            model = lgb.train(
                {**_FIXED, **parameters, "seed": SEARCH_SEED, "num_threads": threads},
                self.older,
                num_boost_round=MOST_ROUNDS,
                valid_sets=[self.newest],
                callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
            )
            losses[head] = float(model.best_score["valid_0"]["binary_logloss"])
            rounds[head] = int(model.best_iteration)
        return {"parameters": parameters, "losses": losses, "rounds": rounds}


def _final(train: FeatureRows, found: Tuned, seed: int, threads: int) -> Trees:
    import lightgbm as lgb

    features = tree_features(train, known_surfaces(train.product))
    fixed = {**_FIXED, "seed": seed, "num_threads": threads}
    data = lgb.Dataset(features, label=train.labels[:, 0], categorical_feature=_categories(features), params=fixed).construct()
    models = {}
    for head in MEASURED:
        label = train.labels[:, HEADS.index(head)]
        if label.min() == label.max() or head not in found.rounds:
            continue
        announce(f"{NAME}: {found.rounds[head]} rounds for {head}")
        data.set_label(label)
        models[head] = lgb.train({**fixed, **found.parameters[head]}, data, num_boost_round=found.rounds[head])
    return Trees(models, train.labels.mean(axis=0).astype(np.float32), known_surfaces(train.product))


def _categories(features: np.ndarray) -> list[int]:
    width = features.shape[1]
    return [width - 2, width - 1]  # product and topic: see `tree_features`


def _keep(file: Path, done: list[dict[str, Any]]) -> None:
    with replace_atomically(file) as temporary:
        temporary.write_text(json.dumps(done, indent=1))
