"""Per-head Platt calibration: a logit is scaled and shifted so that predicted shares meet observed ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_POSITIVES = 50  # below this the shift alone is fitted: a slope from a handful of positives is noise
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
    """Newton's method on Platt's smoothed targets (Platt 1999): one missing class cannot drive the shift to infinity."""
    positives = labels.sum()
    negatives = len(labels) - positives
    if len(labels) == 0:
        return 1.0, 0.0
    target = np.where(labels > 0, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    free_slope = min(positives, negatives) >= MIN_POSITIVES
    slope, shift = 1.0, 0.0
    for _ in range(_ITERATIONS):
        p = sigmoid(slope * logits + shift)
        error, curvature = p - target, np.maximum(p * (1.0 - p), 1e-12)
        if free_slope:
            hessian = np.array(
                [[(curvature * logits**2).sum(), (curvature * logits).sum()], [(curvature * logits).sum(), curvature.sum()]]
            )
            step = np.linalg.solve(hessian + 1e-9 * np.eye(2), np.array([(error * logits).sum(), error.sum()]))
        else:
            step = np.array([0.0, error.sum() / curvature.sum()])
        step = np.clip(step, -2.0, 2.0)
        slope, shift = slope - step[0], shift - step[1]
        if np.abs(step).max() < 1e-8:
            break
    return (slope, shift) if slope > 0 else (1.0, 0.0)
