"""Our models minus every other one, paired, with 95 % intervals over resampled users.

In every draw of users each model's figure is its mean over the seeds, and the difference is of these means: an interval says
how much the users at hand matter, seeds being averaged out. Users are drawn, not rows: a user's rows depend on each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.steps.progress import announce
from flows.training.evaluate import ndcg_by_group
from tests.bench.quality.kept import Predicted
from tests.bench.quality.measured_heads import MEASURED, measured_labels
from tests.bench.quality.rows import QualityRows

COMPARED = ("auc", "log_loss", "ndcg_at_10_frozen")
_LEAST_SHARE = 1e-7


@dataclass(frozen=True)
class _Scored:
    """One model of one seed on one head, ready for many weighted figures."""

    order: np.ndarray  # rows by ascending score
    begins: np.ndarray  # in `order`, of every run of equal scores
    losses: np.ndarray
    ndcg: np.ndarray  # of every user-day that holds both outcomes
    ndcg_row: np.ndarray  # a row of each

    @staticmethod
    def of(run: Predicted, head: int, y: np.ndarray, user_day: np.ndarray) -> _Scored:
        p = run.live[:, head].astype(np.float64)
        order = np.argsort(p, kind="stable")
        begins = np.flatnonzero(np.r_[True, np.diff(p[order]) > 0])
        clipped = np.clip(p, _LEAST_SHARE, 1 - _LEAST_SHARE)
        losses = -(y * np.log(clipped) + (1 - y) * np.log1p(-clipped))
        return _Scored(order, begins, losses, *ndcg_by_group(run.frozen[:, head].astype(np.float64), y, user_day))

    def figures(self, y: np.ndarray, weight: np.ndarray) -> tuple[float, ...]:
        """COMPARED of rows that count `weight` times; NaN where one is not defined."""
        times = weight[self.ndcg_row]
        return (
            weighted_auc(self.order, self.begins, y, weight),
            float(weight @ self.losses / weight.sum()),
            float(times @ self.ndcg / times.sum()) if times.sum() else np.nan,
        )


def weighted_auc(order: np.ndarray, begins: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """AUC of rows that count `weight` times, ties half; `order` by ascending score, `begins` of its runs of equal scores."""
    positive = np.add.reduceat((weight * y)[order], begins)
    negative = np.add.reduceat((weight * (1 - y))[order], begins)
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below / pairs) if pairs else np.nan


def differences(
    predicted: Mapping[str, Sequence[Predicted]], rows: QualityRows, ours: Sequence[str], *, draws: int, seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """our model -> other model -> head -> figure -> {difference, low, high}, None where it is not defined."""
    ours = [name for name in ours if name in predicted]
    weights = list(_weights(rows.live.user_id, draws, seed))
    found: dict[str, dict[str, dict[str, Any]]] = {name: {other: {} for other in predicted if other != name} for name in ours}
    labels = measured_labels(rows.live).astype(np.float64)
    for index, head in enumerate(MEASURED):
        y = labels[:, index]
        drawn = {}
        for name, runs in predicted.items():
            announce(f"intervals: {head}, {name}")
            scored = [_Scored.of(run, index, y, rows.user_day) for run in runs]
            drawn[name] = np.array([np.mean([one.figures(y, weight) for one in scored], axis=0) for weight in weights])
        for name in ours:
            for other in found[name]:
                found[name][other][head] = _intervals(drawn[name] - drawn[other])
    return found


def _weights(user_id: np.ndarray, draws: int, seed: int):
    """How often each row counts, float64 (n,): once in the first, then by users drawn with replacement."""
    random = np.random.default_rng(seed)
    users, place = np.unique(user_id, return_inverse=True)
    yield np.ones(len(user_id))
    for _ in range(draws):
        yield np.bincount(random.integers(0, len(users), len(users)), minlength=len(users)).astype(np.float64)[place]


def _intervals(drawn: np.ndarray) -> dict[str, dict[str, float] | None]:
    """From differences (1 + draws, len(COMPARED)), of which the first row is of the users as they are."""
    found: dict[str, dict[str, float] | None] = {}
    for column, figure in enumerate(COMPARED):
        point, sample = drawn[0, column], drawn[1:, column]
        sample = sample[~np.isnan(sample)]
        if np.isnan(point) or len(sample) == 0:
            found[figure] = None
            continue
        low, high = np.quantile(sample, (0.025, 0.975))
        found[figure] = {"difference": float(point), "low": float(low), "high": float(high)}
    return found
