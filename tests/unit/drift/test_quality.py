"""Delayed-label quality against scikit-learn, simulation and hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from monitoring.drift.quality import (
    auc_with_error,
    calibration_interval,
    expected_calibration_error,
    head_quality,
    normalised_entropy,
)


def _drawn(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1, 1, n)))
    return p, (rng.random(n) < p).astype(float)


def test_auc_agrees_with_scikit_learn_ties_included():
    p, y = _drawn(0, 3000)
    coarse = np.round(p, 1)
    assert auc_with_error(coarse, y)[0] == pytest.approx(roc_auc_score(y, coarse))


def test_the_standard_error_of_auc_is_the_spread_over_repeated_draws():
    draws = [auc_with_error(*_drawn(seed, 800)) for seed in range(200)]
    spread = np.std([auc for auc, _ in draws])
    assert np.mean([error for _, error in draws]) == pytest.approx(spread, rel=0.15)


def test_normalised_entropy_is_log_loss_over_the_entropy_of_the_rate():
    p, y = _drawn(1, 2000)
    assert normalised_entropy(p, y) == pytest.approx(log_loss(y, p) / log_loss(y, np.full(2000, y.mean())))
    assert normalised_entropy(np.full(2000, y.mean()), y) == pytest.approx(1.0)


def test_the_calibration_interval_covers_the_truth_about_99_times_of_100():
    covered = [low <= 1.0 <= high for low, _, high in (calibration_interval(*_drawn(seed, 500)) for seed in range(300))]
    assert np.mean(covered) >= 0.97


def test_calibration_error_of_two_known_groups():
    # 15 rows predicted 0.2 with rate 0.4 and 15 predicted 0.8 with rate 0.8: (0.2 * 15 + 0 * 15) / 30, sorted into bins of 2
    prediction = np.repeat([0.2, 0.8], 150)
    label = np.concatenate([np.tile([1, 0, 1, 0, 0], 30), np.tile([1, 1, 1, 1, 0], 30)]).astype(float)
    assert expected_calibration_error(prediction, label) == pytest.approx(0.1, abs=0.01)


def test_rows_of_few_users_widen_the_error():
    p, y = _drawn(2, 4000)
    assert head_quality(p, y, independent=1000).auc_error == pytest.approx(2 * head_quality(p, y).auc_error)


def test_without_positives_auc_is_not_a_number_and_calibration_is_unbounded():
    quality = head_quality(np.full(100, 0.1), np.zeros(100))
    assert np.isnan(quality.auc)
    assert quality.calibration == float("inf")
