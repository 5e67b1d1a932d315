"""The dwell head: it learns seconds, leaves the actions' probabilities alone, and is asked like them."""

from dataclasses import replace

import numpy as np
import pytest

from feature_repo.feature_rows import HEADS
from flows.training.evaluate import dwell_metrics
from flows.training.fit import train_bundle
from services.ranking.bundle import ModelBundle
from tests.synthetic_rows import synthetic_rows


def _watched(n: int, seed: int):
    """Rows whose dwell follows a column of the post block."""
    rows = synthetic_rows(n, seed=seed)
    return replace(rows, dwell_s=np.minimum(6.0 * rows.blocks["post"][:, 0], 300.0).astype(np.float32))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> ModelBundle:
    folder = tmp_path_factory.mktemp("dwell") / "bundle"
    return ModelBundle.load(train_bundle(_watched(4_000, 1), None, folder, seed=7, threads=1).folder)


@pytest.mark.slow
def test_predicted_seconds_follow_what_they_depend_on(bundle):
    train, later = _watched(4_000, 1), _watched(1_000, 2)
    found = dwell_metrics(bundle.predicted_dwell_s(later), later.dwell_s, train.dwell_s)
    assert found["rank_correlation"] > 0.5
    assert found["log_mae"] < 0.8 * found["log_mae_of_median"]


@pytest.mark.slow
def test_seconds_are_no_probability_and_no_head_of_the_actions(bundle):
    later = _watched(50, 3)
    assert bundle.predict(later).shape == (50, len(HEADS))
    assert bundle.predicted_dwell_s(later).shape == (50,)
    assert (bundle.predicted_dwell_s(later) >= 0).all()
    assert bundle.predicted_dwell_s(later.take(np.zeros(0, np.int64))).shape == (0,)


def test_one_guess_for_all_has_no_rank_and_the_error_of_the_median():
    watched = np.array([0.0, 1.0, 10.0, 100.0], np.float32)
    found = dwell_metrics(np.full(4, 3.0), watched, watched)
    assert found["rank_correlation"] == 0.0
    assert found["log_mae_of_median"] <= found["log_mae"] + 1e-9


def test_where_nothing_was_watched_nothing_is_said():
    assert dwell_metrics(np.ones(3), np.zeros(3), np.ones(3)) == {}
    assert dwell_metrics(np.ones(3), None, None) == {}
