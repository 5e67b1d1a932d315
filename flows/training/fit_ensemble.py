"""Stack the heavy ranker with trees and popularity, head by head, and keep a stack only where it proved better."""

from __future__ import annotations

from typing import Any

import numpy as np

from feature_repo.feature_rows import FeatureRows
from feature_repo.heads import HEADS, judged_heads
from flows.training.fit_trees import fit_trees
from services.ranking.bundle import ModelBundle
from services.ranking.calibration import sigmoid
from services.ranking.ensemble import HEAVY_ALONE, INPUTS, Ensemble, stack_inputs
from services.ranking.id_hashing import hash_ids

STACKED = 4  # heads: the most common ones; the rarer have too few positives to judge a stack by
VALIDATION_DAYS = 2  # the newest ones: a stack that is no better there is not used
FOLDS = 4  # of users
# What a stack is believed to be before any row is seen, and how far from it it may be: two models that err differently beat
# either alone, and the heavy ranker, taught by trees, holds some of what they know.
BELIEVED = np.array([0.7, 0.3, 0.0, 0.0])
ALONE = np.array([1.0, 0.0, 0.0, 0.0])
ENDS = [0, -1]  # the heavy ranker and the constant
# By input. The rows kept out say little of a weight: let loose, it follows their noise, and the stack is worse calibrated than
# its parts are.
BELIEVED_DEVIATION = np.array([0.02, 0.02, 0.005, 0.01])
_ITERATIONS = 50
_DAY_US = 86_400_000_000


def fit_ensemble(
    bundle: ModelBundle, fitted: FeatureRows, held_out: FeatureRows, *, seed: int, threads: int
) -> tuple[Ensemble | None, dict[str, Any]]:
    """The stack on `bundle`'s calibrated heavy ranker, None where it is no better or no row was held out, and what was found.

    Trees learn from the rows that the heavy ranker learned from, `fitted`; weights and decision come from `held_out`, which no
    model saw. A stack is weighed by head, and decided on for all heads together, since the rows kept out are too few to tell
    by head: it is used where the heads' cross-fitted log losses, each as a share of the head's entropy, are lower in sum on
    the newest VALIDATION_DAYS, and on all rows held out not higher than chance explains (a standard error). Found: used, and
    by head weights and both losses on either.
    """
    if not len(held_out):
        return None, {"used": False, "heads": {}}
    stacked = tuple(head for head in judged_heads(fitted.labels, STACKED) if head in bundle.trained_heads)
    trees = fit_trees(fitted, seed=seed, threads=threads, heads=stacked)
    heavy = bundle.heavy_predict(held_out)
    inputs = stack_inputs(heavy, trees.predict(held_out, threads), held_out, bundle.names.get("post", ()))
    weights = np.tile(np.array(HEAVY_ALONE, np.float32), (len(HEADS), 1))
    fold = hash_ids(held_out.user_id, 16) % FOLDS
    newest = _newest(held_out)
    heads: dict[str, dict[str, Any]] = {}
    for head in stacked:
        index = HEADS.index(head)
        x, y = inputs[:, index], held_out.labels[:, index].astype(np.float64)
        if head not in trees.models or y.min() == y.max():
            continue
        weights[index] = stack_weights(x, y)
        named = {name: round(float(weight), 4) for name, weight in zip(INPUTS, weights[index], strict=True)}
        heads[head] = {**judge(x, y, fold, newest), "weights": named}
    gain, newest_gain = (sum(found[name] for found in heads.values()) for name in ("gain", "validation_gain"))
    error = np.sqrt(sum(found["gain_error"] ** 2 for found in heads.values()))
    used = bool(heads and newest_gain > 0 and gain > -error)
    return (Ensemble(trees, weights) if used else None), {"used": used, "heads": heads}


def judge(x: np.ndarray, y: np.ndarray, fold: np.ndarray, newest: np.ndarray) -> dict[str, Any]:
    """How a stack on inputs `x` (n, len(INPUTS)) compares with their first column, by rows whose `fold` it was not fitted on.

    The first column alone is fitted on the same folds: its calibration has seen all rows, which the stack must not pay for.
    Gains are shares of the head's entropy.
    """
    stacked, alone = np.empty(len(y)), np.empty(len(y))
    for held in np.unique(fold):
        inside, outside = fold != held, fold == held
        stacked[outside] = _losses(x[outside] @ stack_weights(x[inside], y[inside]), y[outside])
        own = x[:, ENDS]
        weights = stack_weights(own[inside], y[inside], ALONE[ENDS], BELIEVED_DEVIATION[ENDS])
        alone[outside] = _losses(own[outside] @ weights, y[outside])
    rate = y.mean()
    entropy = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)
    return {
        "rows": len(y),
        "log_loss": float(stacked.mean()),
        "log_loss_heavy": float(alone.mean()),
        "gain": float((alone - stacked).mean() / entropy),
        "gain_error": float((alone - stacked).std() / entropy / np.sqrt(len(y))),
        "validation_rows": int(newest.sum()),
        "validation_log_loss": float(stacked[newest].mean()),
        "validation_log_loss_heavy": float(alone[newest].mean()),
        "validation_gain": float((alone - stacked)[newest].mean() / entropy),
    }


def stack_weights(
    x: np.ndarray, y: np.ndarray, believed: np.ndarray = BELIEVED, deviation: np.ndarray = BELIEVED_DEVIATION
) -> np.ndarray:
    """Logistic regression on logits (n, k), held to `believed` by a normal prior; float64 (k,)."""
    precision = np.diag(1.0 / deviation**2)
    weights = believed.copy()
    for _ in range(_ITERATIONS):
        p = sigmoid(x @ weights)
        gradient = x.T @ (p - y) + precision @ (weights - believed)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + precision
        step = np.clip(np.linalg.solve(hessian, gradient), -1.0, 1.0)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _newest(rows: FeatureRows) -> np.ndarray:
    """bool (n,): rows of the last VALIDATION_DAYS before the newest exposure; all rows where none carries a time."""
    if rows.occurred_at is None:
        return np.ones(len(rows), bool)
    return rows.occurred_at > rows.occurred_at.max() - VALIDATION_DAYS * _DAY_US


def _losses(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, logits) - y * logits
