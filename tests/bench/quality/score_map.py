"""From one score a row to a probability of each action: a logistic map by head, fitted on later rows than the score was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.ranking.calibration import sigmoid

_ITERATIONS = 50
_RIDGE = 1e-3  # rows' worth: keeps the map finite where the score says all or nothing


@dataclass(frozen=True)
class ScoreMap:
    """p = sigmoid(slope * (score - centre) / scale + shift) by head; rows without a score have a rate of their own.

    `slope`, `shift`, `unscored` float64 (heads,).
    """

    centre: float
    scale: float
    slope: np.ndarray
    shift: np.ndarray
    unscored: np.ndarray

    @staticmethod
    def fit(scores: np.ndarray, labels: np.ndarray) -> ScoreMap:
        """`scores` float (n,), NaN where a model has none; `labels` 0/1 (n, heads). Smoothed by one row of the overall rate."""
        scored = np.isfinite(scores)
        known = scores[scored].astype(np.float64)
        centre = float(known.mean()) if len(known) else 0.0
        scale = float(known.std()) if len(known) and known.std() > 1e-9 else 1.0
        rate = np.clip(labels.mean(axis=0), 1e-6, 1 - 1e-6)
        x = (known - centre) / scale
        lines = [_line(x, labels[scored, head].astype(np.float64), rate[head]) for head in range(labels.shape[1])]
        unscored = (labels[~scored].sum(axis=0) + rate) / ((~scored).sum() + 1.0)
        return ScoreMap(centre, scale, *(np.array(part) for part in zip(*lines, strict=True)), unscored)

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities, float32 (n, heads)."""
        x = (np.nan_to_num(scores.astype(np.float64)) - self.centre) / self.scale
        p = sigmoid(x[:, None] * self.slope + self.shift)
        return np.where(np.isfinite(scores)[:, None], p, self.unscored).astype(np.float32)


def _line(x: np.ndarray, y: np.ndarray, rate: float) -> tuple[float, float]:
    """Slope and shift by Newton's method on the log loss."""
    theta = np.array([0.0, np.log(rate / (1 - rate))])
    design = np.stack([x, np.ones(len(x))], axis=1)
    for _ in range(_ITERATIONS):
        p = sigmoid(design @ theta)
        gradient = design.T @ (p - y) + _RIDGE * np.array([theta[0], 0.0])
        hessian = (design * (p * (1 - p))[:, None]).T @ design + _RIDGE * np.eye(2)
        step = np.clip(np.linalg.solve(hessian, gradient), -2.0, 2.0)
        theta -= step
        if np.abs(step).max() < 1e-9:
            break
    return float(theta[0]), float(theta[1])
