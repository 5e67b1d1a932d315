"""Offline metrics of predicted probabilities against logged outcomes."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from feature_repo.feature_rows import FeatureRows
from feature_repo.heads import HEADS, judged_heads

ECE_BINS = 15
NDCG_DEPTH = 10
NDCG_HEADS = 2  # the most common heads, whose order within a user's day is judged
_TINY = 1e-7
_DAY_US = 86_400_000_000


def evaluate(
    probabilities: np.ndarray, labels: np.ndarray, rows: FeatureRows, *, day_offset: timedelta = timedelta(0)
) -> dict[str, dict[str, float | None]]:
    """Per head: auc, log_loss, normalised_entropy, ece, base_rate, positives; of the NDCG_HEADS commonest also ndcg_at_10.

    `probabilities` and `labels` are (n, len(HEADS)). A metric that is not defined (one class only, no mixed user-day)
    is None, never a made-up number. A head that a model does not predict (all NaN) is left out.

    NDCG is the mean over user-days that hold both outcomes. Where features went on updating within the day, compare it
    only between models on the same rows: an early outcome changes both the later features and what is left to rank.
    """
    if probabilities.shape != labels.shape or labels.shape != (len(rows), len(HEADS)):
        raise ValueError(
            f"probabilities {probabilities.shape} and labels {labels.shape} must both be ({len(rows)}, {len(HEADS)}), "
            "in the order of HEADS"
        )
    groups = user_days(rows, day_offset)
    ranked = judged_heads(labels, NDCG_HEADS, least=1)
    metrics = {}
    for index, head in enumerate(HEADS):
        p, y = probabilities[:, index].astype(np.float64), labels[:, index].astype(np.float64)
        if np.isnan(p).all():
            continue
        metrics[head] = head_metrics(p, y)
        if head in ranked:
            metrics[head]["ndcg_at_10"] = ndcg(p, y, groups)
    return metrics


def head_metrics(p: np.ndarray, y: np.ndarray) -> dict[str, float | None]:
    """Metrics of one head; p float64 (n,) in [0, 1], y 0/1 (n,)."""
    rate = float(y.mean()) if len(y) else 0.0
    entropy = _entropy(rate)
    loss = log_loss(p, y)
    return {
        "auc": auc(p, y),
        "log_loss": loss,
        "normalised_entropy": loss / entropy if loss is not None and entropy > 0 else None,
        "ece": expected_calibration_error(p, y),
        "base_rate": rate,
        "positives": int(y.sum()),
    }


def auc(scores: np.ndarray, y: np.ndarray) -> float | None:
    """Area under the ROC curve, ties counted half; None when only one class is there."""
    positives = int(y.sum())
    negatives = len(y) - positives
    if positives == 0 or negatives == 0:
        return None
    ranks = _average_ranks(scores)
    return float((ranks[y > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(p: np.ndarray, y: np.ndarray) -> float | None:
    """Mean negative log likelihood in nats; None on no rows."""
    if len(y) == 0:
        return None
    return float(np.mean(row_losses(p, y)))


def row_losses(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Negative log likelihood of each row in nats; p in [0, 1], y 0/1, both (n,)."""
    p = np.clip(p, _TINY, 1 - _TINY)
    return -(y * np.log(p) + (1 - y) * np.log1p(-p))


def expected_calibration_error(p: np.ndarray, y: np.ndarray, bins: int = ECE_BINS) -> float | None:
    """Mean |predicted - observed| share over equal-mass bins, weighted by their rows; None on no rows."""
    if len(y) == 0:
        return None
    order = np.argsort(p, kind="stable")
    gap = sum(abs(float(np.sum(p[part] - y[part]))) for part in np.array_split(order, min(bins, len(y))))
    return gap / len(y)


def dwell_metrics(predicted_s: np.ndarray, dwell_s: np.ndarray | None, train_s: np.ndarray | None) -> dict[str, float]:
    """How far predicted seconds are from those watched: log_mae, log_mae_of_median (one guess for all), rank_correlation.

    float32 (n,) of the rows judged, and of the training rows, whose median is the guess. Errors are of log1p of seconds, in
    nats; the correlation is Spearman's. Empty where no dwell was logged.
    """
    if dwell_s is None or train_s is None or not len(dwell_s) or not np.any(dwell_s):
        return {}
    watched = np.log1p(dwell_s)
    guess = float(np.median(np.log1p(train_s)))
    one, other = (rank - rank.mean() for rank in (_average_ranks(predicted_s), _average_ranks(dwell_s)))
    spread = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return {
        "log_mae": float(np.abs(np.log1p(predicted_s) - watched).mean()),
        "log_mae_of_median": float(np.abs(guess - watched).mean()),
        "rank_correlation": float((one * other).sum() / spread) if spread > 0 else 0.0,
    }


def user_days(rows: FeatureRows, day_offset: timedelta = timedelta(0)) -> np.ndarray:
    """Group number of each row by (user, local day), int64 (n,)."""
    day = np.zeros(len(rows), np.int64)
    if rows.occurred_at is not None:
        day = (rows.occurred_at + int(day_offset.total_seconds() * 1_000_000)) // _DAY_US
    _, group = np.unique(np.stack([rows.user_id, day]), axis=1, return_inverse=True)
    return group.reshape(-1)


def ndcg(scores: np.ndarray, y: np.ndarray, groups: np.ndarray, depth: int = NDCG_DEPTH) -> float | None:
    """Mean NDCG@depth of binary gains over groups that hold both outcomes; None when there is none."""
    values, _ = ndcg_by_group(scores, y, groups, depth)
    return float(np.mean(values)) if len(values) else None


def ndcg_by_group(
    scores: np.ndarray, y: np.ndarray, groups: np.ndarray, depth: int = NDCG_DEPTH
) -> tuple[np.ndarray, np.ndarray]:
    """NDCG@depth of every group that holds both outcomes, float64 (k,), and a row of each group, int64 (k,)."""
    if len(y) == 0:
        return np.empty(0), np.empty(0, np.int64)
    order = np.lexsort((-scores, groups))
    grouped, gain = groups[order], y[order]
    ideal = y[np.lexsort((-y, groups))]
    start = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
    size = np.diff(np.r_[start, len(grouped)])
    rank = np.arange(len(grouped)) - np.repeat(start, size)
    discount = np.where(rank < depth, 1.0 / np.log2(rank + 2.0), 0.0)
    got, best = np.add.reduceat(gain * discount, start), np.add.reduceat(ideal * discount, start)
    positives = np.add.reduceat(gain, start)
    mixed = (positives > 0) & (positives < size)
    return got[mixed] / best[mixed], order[start[mixed]]


def _average_ranks(values: np.ndarray) -> np.ndarray:
    """1-based ranks, ties share their mean rank; float64."""
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2.0)[inverse]


def _entropy(rate: float) -> float:
    if rate <= 0 or rate >= 1:
        return 0.0
    return float(-(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)))
