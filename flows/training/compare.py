"""Models side by side on the same rows, with the uncertainty of their difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from feature_repo.heads import HEADS, LEAST_JUDGED
from flows.training.evaluate import auc, row_losses

COLUMNS = ("auc", "log_loss", "normalised_entropy", "ece", "ndcg_at_10")
MOST_SHOWN = 4  # heads in a table


@dataclass(frozen=True)
class Comparison:
    """Metrics by model and head, as `evaluate` returns them."""

    models: dict[str, dict[str, dict[str, float | None]]]

    def as_dict(self) -> dict:
        return self.models

    @property
    def heads(self) -> tuple[str, ...]:
        """The most common heads that can be judged, in the order of the metrics."""
        first = next(iter(self.models.values()), {})
        counts = {head: metrics.get("positives") or 0 for head, metrics in first.items()}
        shown = sorted((head for head in counts if counts[head] >= LEAST_JUDGED), key=lambda head: -counts[head])[:MOST_SHOWN]
        return tuple(head for head in counts if head in shown)

    def rows(self) -> list[dict[str, str | float | None]]:
        """One flat row per model and head, for a table artifact."""
        return [
            {"model": model, "head": head, **{column: metrics.get(column) for column in COLUMNS}}
            for model, heads in self.models.items()
            for head, metrics in heads.items()
            if head in self.heads
        ]

    def markdown(self) -> str:
        """A GitHub table; an undefined metric shows as a dash."""
        names = ("model", "head", *COLUMNS)
        lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in self.rows()]
        return "\n".join(lines)


def compare(models: Mapping[str, dict]) -> Comparison:
    """Set the results of `evaluate` side by side; `models` maps a name to its metrics, in the order of the table."""
    if not models:
        raise ValueError("nothing to compare: give at least one model's metrics")
    return Comparison({name: dict(metrics) for name, metrics in models.items()})


@dataclass(frozen=True)
class Difference:
    """A figure of one model minus another's, with a 95 % interval."""

    head: str
    difference: float
    low: float
    high: float


def auc_difference(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, user_id: np.ndarray, head: str, *, seed: int, draws: int = 200
) -> Difference | None:
    """AUC of `first` minus that of `second` (both (n, len(HEADS))) on one head; users are resampled, since their rows depend.

    None where the head has one class only.
    """
    index = HEADS.index(head)
    y = labels[:, index].astype(np.float64)
    point = _difference(first[:, index], second[:, index], y)
    if point is None:
        return None
    random = np.random.default_rng(seed)
    order = np.argsort(user_id, kind="stable")
    _, start, count = np.unique(user_id[order], return_index=True, return_counts=True)
    found = []
    for _ in range(draws):
        chosen = random.integers(0, len(start), len(start))
        size = count[chosen]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        sample = order[np.repeat(start[chosen], size) + within]
        drawn = _difference(first[sample, index], second[sample, index], y[sample])
        if drawn is not None:
            found.append(drawn)
    low, high = np.quantile(found, (0.025, 0.975)) if found else (float("nan"), float("nan"))
    return Difference(head, point, float(low), float(high))


def log_loss_difference(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, user_id: np.ndarray, head: str
) -> Difference:
    """Log loss of `first` minus that of `second` (both (n, len(HEADS)), n > 0) on one head.

    Rows of one user are not independent: the interval is that of a mean over clusters, whose sums about it are what varies, by
    Student's t where users are few. Raises ValueError where there is one user, or a probability is no number.
    """
    index = HEADS.index(head)
    y = labels[:, index]
    lost = row_losses(first[:, index], y) - row_losses(second[:, index], y)
    mean = float(lost.mean())
    if not np.isfinite(mean):
        raise ValueError(f"a predicted probability of {head} is no number")
    _, user = np.unique(user_id, return_inverse=True)
    sums = np.bincount(user, weights=lost - mean)
    users = len(sums)
    if users < 2:
        raise ValueError("all rows are of one user, by whom no two models can be told apart")
    spread = float(np.sqrt(np.square(sums).sum() * users / (users - 1)) / len(lost) * stdtrit(users - 1, 0.975))
    return Difference(head, mean, mean - spread, mean + spread)


def _difference(first: np.ndarray, second: np.ndarray, y: np.ndarray) -> float | None:
    one, other = auc(first, y), auc(second, y)
    return None if one is None or other is None else one - other


def _cell(value: str | float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
