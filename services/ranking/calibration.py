"""Per-head calibration: a logit is scaled and shifted (Platt 1999) so that predicted shares meet observed ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# How far a head's slope is believed to be from 1 and its shift from 0 before any row is seen (standard deviation). Networks
# trained on log loss are nearly calibrated; a rare action's handful of positives is no evidence to the contrary.
PRIOR_DEVIATION = 0.1
_ITERATIONS = 50


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow; keeps the dtype."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


@dataclass(frozen=True)
class Calibration:
    """p = sigmoid(slope * logit + shift) by head; both float32 (heads,)."""

    slope: np.ndarray
    shift: np.ndarray

    @staticmethod
    def identity(heads: int) -> Calibration:
        return Calibration(np.ones(heads, np.float32), np.zeros(heads, np.float32))

    @staticmethod
    def fit(logits: np.ndarray, labels: np.ndarray) -> Calibration:
        """Fit on rows that no weight was trained on. `logits` float (n, heads), `labels` 0/1 (n, heads)."""
        if logits.shape != labels.shape:
            raise ValueError(f"logits are {logits.shape}, labels {labels.shape}: they must agree")
        fitted = [_fit_head(logits[:, h].astype(np.float64), labels[:, h].astype(np.float64)) for h in range(logits.shape[1])]
        slope, shift = zip(*fitted, strict=True)
        return Calibration(np.array(slope, np.float32), np.array(shift, np.float32))

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities, float32 (n, heads)."""
        return sigmoid((logits * self.slope + self.shift).astype(np.float32))


def _fit_head(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Newton's method on the penalised log loss; convex, and finite also where one class is missing."""
    precision = 1.0 / PRIOR_DEVIATION**2
    believed = np.array([1.0, 0.0])
    theta = believed.copy()
    for _ in range(_ITERATIONS):
        p = sigmoid(theta[0] * logits + theta[1])
        error, curvature = p - labels, p * (1.0 - p)
        gradient = np.array([(error * logits).sum(), error.sum()]) + precision * (theta - believed)
        crossed = (curvature * logits).sum()
        hessian = np.array([[(curvature * logits**2).sum(), crossed], [crossed, curvature.sum()]]) + precision * np.eye(2)
        step = np.clip(np.linalg.solve(hessian, gradient), -1.0, 1.0)
        theta -= step
        if np.abs(step).max() < 1e-9:
            break
    slope, shift = (float(value) for value in theta)
    return (slope, shift) if slope > 0 else (1.0, 0.0)
