"""How good predictions are on labels that have come in: AUC with its error, calibration, normalised entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class HeadQuality:
    """One head's quality on n judged rows."""

    rows: int
    positives: int
    auc: float
    auc_error: float  # standard error, widened for rows of the same user
    normalised_entropy: float  # log loss over the entropy of the base rate; 1 = as good as the mean
    calibration: float  # sum of predictions over sum of labels; 1 = calibrated in the large
    calibration_low: float  # 99 % interval of the same
    calibration_high: float
    calibration_error: float  # expected calibration error over equal-mass bins


def head_quality(prediction: np.ndarray, label: np.ndarray, *, independent: float = np.inf) -> HeadQuality:
    """Judge predictions (n,) in [0, 1] against labels (n,) in {0, 1}; `independent` caps the effective sample size."""
    n, positives = len(label), int(label.sum())
    inflation = math.sqrt(max(1.0, n / independent))
    auc, error = auc_with_error(prediction, label)
    low, ratio, high = calibration_interval(prediction, label, inflation)
    return HeadQuality(
        rows=n,
        positives=positives,
        auc=auc,
        auc_error=float(error * inflation),
        normalised_entropy=normalised_entropy(prediction, label),
        calibration=ratio,
        calibration_low=low,
        calibration_high=high,
        calibration_error=expected_calibration_error(prediction, label),
    )


def auc_with_error(prediction: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve and its standard error (DeLong 1988, by ranks); NaN where a class is empty."""
    positive, negative = prediction[label == 1], prediction[label == 0]
    m, n = len(positive), len(negative)
    if m < 2 or n < 2:
        return float("nan"), float("nan")
    together = stats.rankdata(np.concatenate([positive, negative]))
    above = (together[:m] - stats.rankdata(positive)) / n  # per positive: share of negatives below it
    below = 1 - (together[m:] - stats.rankdata(negative)) / m  # per negative: share of positives above it
    return float(above.mean()), float(np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n))


def calibration_interval(prediction: np.ndarray, label: np.ndarray, inflation: float = 1.0) -> tuple[float, float, float]:
    """(low, ratio, high) of predicted over observed positives, 99 % by the delta method; infinite without positives."""
    observed, predicted = float(label.mean()), float(prediction.mean())
    if observed == 0:
        return 0.0, float("inf"), float("inf")
    ratio = predicted / observed
    error = float((prediction - ratio * label).std() / (observed * math.sqrt(len(label)))) * inflation
    margin = float(stats.norm.ppf(0.995)) * error
    return ratio - margin, ratio, ratio + margin


def expected_calibration_error(prediction: np.ndarray, label: np.ndarray) -> float:
    """Mean absolute gap of mean prediction and label rate over bins of equal mass."""
    order = np.argsort(prediction, kind="stable")
    bins = [part for part in np.array_split(order, CALIBRATION_BINS) if len(part)]
    return float(sum(abs(prediction[part].sum() - label[part].sum()) for part in bins) / len(label))


def normalised_entropy(prediction: np.ndarray, label: np.ndarray) -> float:
    """Log loss divided by the entropy of the label rate (He et al. 2014); NaN where a class is empty."""
    rate = float(label.mean())
    if rate in (0.0, 1.0):
        return float("nan")
    p = np.clip(prediction, 1e-7, 1 - 1e-7)
    loss = -np.mean(label * np.log(p) + (1 - label) * np.log1p(-p))
    return float(loss / -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)))
