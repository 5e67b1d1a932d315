"""Stack the heavy ranker with trees and popularity, head by head, and keep a stack only where it proved better."""

from __future__ import annotations

from typing import Any

import numpy as np

from feature_repo.feature_rows import HEADS, FeatureRows
from flows.training.fit_trees import fit_trees
from services.ranking.bundle import ModelBundle
from services.ranking.calibration import sigmoid
from services.ranking.ensemble import HEAVY_ALONE, INPUTS, Ensemble, stack_inputs
from services.ranking.id_hashing import hash_ids

STACKED = ("click", "video_view", "like", "profile_click")  # the rarer actions have too few positives to judge a stack by
VALIDATION_DAYS = 2  # the newest ones: a stack that is no better there is not used
FOLDS = 4  # of users
# Equal say of both models is what a stack of two is believed to be before any row is seen.
BELIEVED = np.array([0.5, 0.5, 0.0, 0.0])
BELIEVED_DEVIATION = 0.05
SURE = 1.0  # a stack's gain over its standard error
_ITERATIONS = 50
_DAY_US = 86_400_000_000


def fit_ensemble(
    bundle: ModelBundle, fitted: FeatureRows, held_out: FeatureRows, *, seed: int, threads: int
) -> tuple[Ensemble | None, dict[str, dict[str, Any]]]:
    """The stack on `bundle`'s calibrated heavy ranker, None where no head gains by it, and what was found by head.

    Trees learn from the rows that the heavy ranker learned from, `fitted`; weights and decision come from `held_out`, which no
    model saw. The decision is made on cross-fitted losses: a user's rows are judged with weights fitted on other users. Found
    by head: used, weights, log_loss and log_loss_heavy on all rows held out, and both on their newest VALIDATION_DAYS.
    """
    trees = fit_trees(fitted, seed=seed, threads=threads, heads=STACKED)
    heavy = bundle.heavy_predict(held_out)
    inputs = stack_inputs(heavy, trees.predict(held_out, threads), held_out, bundle.names.get("post", ()))
    weights = np.tile(np.array(HEAVY_ALONE, np.float32), (len(HEADS), 1))
    fold = hash_ids(held_out.user_id, 16) % FOLDS
    newest = _newest(held_out)
    found = {}
    for head in STACKED:
        index = HEADS.index(head)
        x, y = inputs[:, index], held_out.labels[:, index].astype(np.float64)
        if head not in trees.models or y.min() == y.max():
            continue
        found[head] = judge(x, y, fold, newest)
        stack = stack_weights(x, y)
        found[head]["weights"] = dict(zip(INPUTS, (round(float(weight), 4) for weight in stack), strict=True))
        if found[head]["used"]:
            weights[index] = stack
    ensemble = Ensemble(trees, weights)
    return (ensemble if ensemble.stacked else None), found


def judge(x: np.ndarray, y: np.ndarray, fold: np.ndarray, newest: np.ndarray) -> dict[str, Any]:
    """Whether a stack on inputs `x` (n, len(INPUTS)) beats their first column, by rows whose `fold` it was not fitted on."""
    stacked = np.empty(len(y))
    for held in np.unique(fold):
        inside, outside = fold != held, fold == held
        stacked[outside] = _losses(x[outside] @ stack_weights(x[inside], y[inside]), y[outside])
    alone = _losses(x[:, 0], y)
    gain = alone - stacked
    used = gain.mean() > SURE * gain.std() / len(gain) ** 0.5 and gain[newest].sum() > 0
    return {
        "used": bool(used),
        "rows": len(y),
        "log_loss": float(stacked.mean()),
        "log_loss_heavy": float(alone.mean()),
        "validation_rows": int(newest.sum()),
        "validation_log_loss": float(stacked[newest].mean()),
        "validation_log_loss_heavy": float(alone[newest].mean()),
    }


def stack_weights(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Logistic regression on logits (n, k), held to BELIEVED by a normal prior; float64 (k,)."""
    precision = np.eye(x.shape[1]) / BELIEVED_DEVIATION**2
    weights = BELIEVED.copy()
    for _ in range(_ITERATIONS):
        p = sigmoid(x @ weights)
        gradient = x.T @ (p - y) + precision @ (weights - BELIEVED)
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
