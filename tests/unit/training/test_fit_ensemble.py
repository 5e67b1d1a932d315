"""Stacking: what the weights hold to, when a stack is used, and that a bundle with one keeps it."""

from dataclasses import replace

import numpy as np
import pytest

from feature_repo.feature_rows import HEADS
from flows.training.evaluate import log_loss
from flows.training.fit import train_bundle
from flows.training.fit_ensemble import BELIEVED, judge, stack_weights
from services.ranking.bundle import ModelBundle
from services.ranking.calibration import sigmoid
from tests.synthetic_rows import synthetic_rows


def _two_views(n: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, 4) of which the first two are the truth with noise of their own, and outcomes drawn from the truth."""
    random = np.random.default_rng(seed)
    truth = random.normal(0, 1.2, n)
    views = [truth + random.normal(0, spread, n) for spread in (0.4, noise)]
    inputs = np.stack([*views, random.normal(0, 1, n), np.ones(n)], axis=1)
    return inputs, (random.random(n) < sigmoid(truth)).astype(np.float64)


def _judged(x: np.ndarray, y: np.ndarray) -> dict:
    return judge(x, y, np.arange(len(y)) % 4, np.arange(len(y)) > len(y) // 2)


def test_a_second_view_of_the_same_truth_is_worth_stacking():
    found = _judged(*_two_views(40_000, 0.4))
    assert found["gain"] > 0
    assert found["validation_gain"] > 0
    assert found["log_loss"] < found["log_loss_heavy"]


def test_noise_is_not_worth_stacking():
    found = _judged(*_two_views(40_000, 6.0))
    assert found["gain"] < -found["gain_error"]


def test_without_rows_a_stack_is_what_it_is_believed_to_be():
    np.testing.assert_allclose(stack_weights(np.empty((0, 4)), np.empty(0)), BELIEVED)


def test_many_rows_move_the_weights_towards_the_better_view():
    inputs, outcome = _two_views(200_000, 0.1)
    heavy, trees, *_ = stack_weights(inputs, outcome)
    assert trees > heavy


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacked") / "bundle"
    return train_bundle(synthetic_rows(3_000, seed=1), None, folder, seed=7, threads=1, ensemble=True)


@pytest.mark.slow
def test_a_training_says_by_head_what_decided(report):
    assert set(report.ensemble) == {"used", "heads"}
    assert set(report.ensemble["heads"]) <= set(HEADS[:4])
    names = ("gain", "validation_gain", "gain_error")
    gain, newest, error = np.array([[found[name] for name in names] for found in report.ensemble["heads"].values()]).T
    assert report.ensemble["used"] == bool(newest.sum() > 0 and gain.sum() > -np.sqrt((error**2).sum()))
    assert (ModelBundle.load(report.folder).ensemble is not None) == report.ensemble["used"]


@pytest.mark.slow
def test_a_stacked_bundle_keeps_its_trees_and_answers_alike_after_loading(report, tmp_path):
    from flows.training.fit_ensemble import INPUTS
    from flows.training.fit_trees import fit_trees
    from services.ranking.ensemble import Ensemble

    alone = ModelBundle.load(report.folder)
    train, later = synthetic_rows(3_000, seed=1), synthetic_rows(500, seed=2)
    weights = np.tile(np.array([1.0, 0.0, 0.0, 0.0], np.float32), (len(HEADS), 1))
    weights[0] = [0.6, 0.4, 0.0, 0.0]
    trees = fit_trees(train, seed=1, threads=1, heads=("click",))
    stacked = replace(alone, ensemble=Ensemble(trees, weights))
    loaded = ModelBundle.load(stacked.save(tmp_path / "stacked"))
    assert len(INPUTS) == weights.shape[1]
    np.testing.assert_array_equal(loaded.predict(later), stacked.predict(later))
    np.testing.assert_array_equal(loaded.predict(later)[:, 1:], loaded.heavy_predict(later)[:, 1:])
    outcome = later.labels[:, 0].astype(np.float64)
    assert log_loss(loaded.predict(later)[:, 0], outcome) != log_loss(loaded.heavy_predict(later)[:, 0], outcome)
    assert loaded.version != alone.version
