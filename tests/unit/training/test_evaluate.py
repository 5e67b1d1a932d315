from datetime import timedelta

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import ndcg_score, roc_auc_score

from feature_repo.heads import HEADS, judged_heads
from flows.training.evaluate import auc, evaluate, expected_calibration_error, log_loss, ndcg, user_days
from tests.synthetic_rows import synthetic_rows


def _scored(n: int = 2_000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    p = random.random(n).round(2)  # rounding makes ties
    return p, (random.random(n) < p).astype(float)


def test_auc_is_that_of_scikit_learn_ties_included():
    p, y = _scored()
    assert auc(p, y) == pytest.approx(roc_auc_score(y, p), abs=1e-12)


def test_log_loss_is_that_of_scikit_learn():
    p, y = _scored()
    p = np.clip(p, 0.01, 0.99)
    assert log_loss(p, y) == pytest.approx(sklearn_log_loss(y, p), abs=1e-12)


def test_ndcg_is_the_mean_of_scikit_learns_over_mixed_groups():
    random = np.random.default_rng(6)
    groups = np.sort(random.integers(0, 60, 900))
    scores, y = random.random(900), (random.random(900) < 0.3).astype(float)
    mixed = [g for g in np.unique(groups) if 0 < y[groups == g].sum() < (groups == g).sum()]
    expected = np.mean([ndcg_score([y[groups == g]], [scores[groups == g]], k=10) for g in mixed])
    shuffled = random.permutation(900)
    assert ndcg(scores[shuffled], y[shuffled], groups[shuffled]) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_golden_value():
    # Two bins of two rows: predicted .1 and .1 saw 0 of 2 (gap .1), predicted .9 and .7 saw 1 of 2 (gap .3).
    p, y = np.array([0.9, 0.1, 0.7, 0.1]), np.array([1.0, 0.0, 0.0, 0.0])
    assert expected_calibration_error(p, y, bins=2) == pytest.approx(0.2)


def test_calibration_error_of_true_probabilities_is_small_and_of_shifted_ones_is_the_shift():
    random = np.random.default_rng(7)
    p = random.uniform(0.2, 0.6, 50_000)
    y = (random.random(50_000) < p).astype(float)
    assert expected_calibration_error(p, y) < 0.01
    assert expected_calibration_error(p + 0.3, y) == pytest.approx(0.3, abs=0.01)


def test_user_days_part_at_local_midnight():
    rows = synthetic_rows(3)
    rows.user_id[:] = 5
    midnight = 1_651_363_200_000_000  # 1 May 2022 00:00 UTC
    rows.occurred_at[:] = (midnight - 1, midnight, midnight + 16 * 3_600_000_000)
    assert len(np.unique(user_days(rows))) == 2
    assert user_days(rows).tolist() == [0, 1, 1]
    assert user_days(rows, timedelta(hours=8)).tolist() == [0, 0, 1]


def test_evaluate_reports_every_head_and_normalises_by_its_base_rate():
    rows = synthetic_rows(3_000)
    base = np.broadcast_to(rows.labels.mean(0), rows.labels.shape).astype(np.float64)
    metrics = evaluate(base, rows.labels, rows)
    assert tuple(metrics) == HEADS
    assert metrics["quote"]["auc"] is None  # nobody quotes in these rows
    for head in judged_heads(rows.labels):
        assert metrics[head]["auc"] == 0.5
        assert metrics[head]["normalised_entropy"] == pytest.approx(1.0, abs=1e-6)
        assert metrics[head]["ece"] == pytest.approx(0.0, abs=0.06)
    assert 0 < metrics["click"]["ndcg_at_10"] <= 1


def test_an_undefined_metric_is_none_and_a_head_not_predicted_is_left_out():
    rows = synthetic_rows(300)
    labels = rows.labels.copy()
    labels[:, HEADS.index("follow")] = 0
    p = np.full(labels.shape, 0.1)
    p[:, HEADS.index("share")] = np.nan
    metrics = evaluate(p, labels, rows)
    assert metrics["follow"]["auc"] is None
    assert metrics["follow"]["normalised_entropy"] is None
    assert "share" not in metrics


def test_shapes_must_agree():
    rows = synthetic_rows(10)
    with pytest.raises(ValueError, match="in the order of HEADS"):
        evaluate(np.zeros((10, 2)), rows.labels, rows)
