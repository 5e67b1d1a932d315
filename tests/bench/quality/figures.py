"""Figures of every model: the mean over its seeds and how far these lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flows.evaluation.figures import ece_floor
from flows.training.evaluate import auc, head_metrics, ndcg
from tests.bench.quality.kept import Predicted
from tests.bench.quality.measured_heads import MEASURED, measured_labels
from tests.bench.quality.rows import QualityRows

FIGURES = ("auc", "auc_frozen", "log_loss", "ece", "ece_floor", "ndcg_at_10_frozen")
SUSPECTED_LEAK = 0.775  # click AUC: what was judged to be the ceiling of these data lies below


def model_figures(predicted: Mapping[str, Sequence[Predicted]], rows: QualityRows) -> dict[str, dict[str, Any]]:
    """model -> {seeds, fit_s, heads: head -> figure -> {mean, spread}}.

    spread: largest minus smallest over the seeds, None where there is one seed; a figure that is not defined is None.
    """
    labels = measured_labels(rows.live).astype(np.float64)
    return {
        name: {
            "seeds": len(runs),
            "fit_s": round(float(np.mean([run.fit_s for run in runs])), 1),
            "heads": {
                head: _over_seeds([_of_one(run, index, labels[:, index], rows.user_day) for run in runs])
                for index, head in enumerate(MEASURED)
            },
        }
        for name, runs in predicted.items()
    }


def ndcg_of_chance(rows: QualityRows, seed: int) -> dict[str, float | None]:
    """NDCG@10 of random scores by head: what the same figure of a model is to be read beside."""
    labels = measured_labels(rows.live).astype(np.float64)
    scores = np.random.default_rng(seed).random(len(labels))
    return {head: ndcg(scores, labels[:, index], rows.user_day) for index, head in enumerate(MEASURED)}


def leak_warnings(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence for every model whose click AUC is too good to be true."""
    found = []
    for name, model in models.items():
        for figure in ("auc", "auc_frozen"):
            value = model["heads"]["click"][figure]
            if value is not None and value["mean"] > SUSPECTED_LEAK:
                found.append(
                    f"LEAK SUSPECTED: {name} has a click {figure} of {value['mean']:.4f}, above {SUSPECTED_LEAK}; "
                    "look for features that know the row's own outcome before believing any figure"
                )
    return found


def _of_one(run: Predicted, head: int, y: np.ndarray, user_day: np.ndarray) -> dict[str, float | None]:
    live, frozen = run.live[:, head].astype(np.float64), run.frozen[:, head].astype(np.float64)
    metrics = head_metrics(live, y)
    return {
        **{name: metrics[name] for name in ("auc", "log_loss", "ece")},
        "auc_frozen": auc(frozen, y),
        "ece_floor": ece_floor(live, seed=0),
        "ndcg_at_10_frozen": ndcg(frozen, y, user_day),
    }


def _over_seeds(found: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, float | None] | None]:
    values = {name: [one[name] for one in found] for name in FIGURES}
    return {
        name: None
        if any(value is None for value in many)
        else {"mean": float(np.mean(many)), "spread": float(np.ptp(many)) if len(many) > 1 else None}
        for name, many in values.items()
    }
