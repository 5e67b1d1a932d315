import numpy as np
import pytest

from feature_repo.feature_rows import HEADS
from flows.training.baselines import PRIOR_EXPOSURES, fit_logistic_regression, lightgbm, popularity
from flows.training.evaluate import auc
from flows.training.measured import _compared_heads
from tests.synthetic_rows import synthetic_rows


def test_popularity_is_the_smoothed_rate_of_the_training_rows():
    train = synthetic_rows(2_000, seed=1)
    asked = synthetic_rows(5, seed=2)
    asked.post_id[:2] = (7, 10**9)
    p = popularity(train, asked)
    shown = train.post_id == 7
    rate = train.labels[:, 0].mean()
    expected = (train.labels[shown, 0].sum() + PRIOR_EXPOSURES * rate) / (shown.sum() + PRIOR_EXPOSURES)
    assert p[0, 0] == pytest.approx(expected, abs=1e-6)
    assert p[1] == pytest.approx(train.labels.mean(0), abs=1e-6)  # a post nobody has seen


def test_popularity_never_reads_the_labels_it_is_asked_to_predict():
    train, asked = synthetic_rows(500, seed=1), synthetic_rows(100, seed=2)
    before = popularity(train, asked)
    asked.labels[:] = 1 - asked.labels
    np.testing.assert_array_equal(popularity(train, asked), before)


@pytest.mark.slow
def test_lightgbm_finds_the_planted_signal_the_same_way_twice():
    train, asked = synthetic_rows(3_000, seed=1), synthetic_rows(1_000, seed=2)
    p = lightgbm(train, asked, seed=7, threads=1)
    assert p.shape == (1_000, len(HEADS))
    assert auc(p[:, 0], asked.labels[:, 0]) > 0.6
    np.testing.assert_array_equal(lightgbm(train, asked, seed=7, threads=1), p)


def test_lightgbm_answers_a_head_of_one_class_with_its_rate():
    train, asked = synthetic_rows(400, seed=1), synthetic_rows(50, seed=2)
    train.labels[:, 4] = 0
    assert (lightgbm(train, asked, seed=7, threads=1)[:, 4] == 0).all()


def test_heads_that_are_not_asked_for_have_no_prediction():
    train, asked = synthetic_rows(400, seed=1), synthetic_rows(50, seed=2)
    p = lightgbm(train, asked, seed=7, threads=1, heads=(HEADS[2],))
    assert not np.isnan(p[:, 2]).any()
    assert np.isnan(np.delete(p, 2, axis=1)).all()


def test_trees_are_grown_for_what_the_test_rows_can_judge_the_commonest_and_what_decides():
    test = synthetic_rows(200, seed=1)
    test.labels[:] = 0
    for place, positives in ((0, 100), (1, 20), (2, 15), (3, 10), (4, 5), (5, 3)):
        test.labels[:positives, place] = 1
    assert _compared_heads(test, ()) == HEADS[:4]  # one can be judged, and the next three have both outcomes
    assert _compared_heads(test, (HEADS[5],)) == (*HEADS[:4], HEADS[5])


@pytest.mark.slow
def test_logistic_regression_finds_the_planted_signal_on_rows_it_was_not_fitted_on():
    train, later = synthetic_rows(4_000, seed=1), synthetic_rows(2_000, seed=2)
    p = fit_logistic_regression(train)(later)
    assert p.shape == (2_000, len(HEADS)) and p.dtype == np.float32
    assert auc(p[:, 0], later.labels[:, 0]) > 0.62
    assert p[:, 0].mean() == pytest.approx(later.labels[:, 0].mean(), abs=0.05)


def test_lightgbm_writes_nothing_on_standard_output_also_where_a_post_has_no_topic(capfd):
    train = synthetic_rows(1_000, seed=1)
    train.topic[:50], train.product[:50] = -1, -1
    lightgbm(train, train, seed=1, threads=1)
    assert capfd.readouterr().out == ""
