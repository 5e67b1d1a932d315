"""Trials of learning rates: the same rows for all, and nothing but the rate between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from flows.training.fit_heavy import SCHEDULE, fit_heavy
from flows.training.rate_trials import TrialError, checked_rates, fit_trial, rated, trial_rows
from services.ranking.encoded_rows import EncodedRows
from tests.synthetic_rows import synthetic_rows

OPTIONS = {"seed": 3, "threads": 1}


@pytest.fixture(scope="module")
def rows():
    return trial_rows(synthetic_rows(1_500, seed=1), synthetic_rows(800, seed=2), **OPTIONS)


def in_memory(encoded: EncodedRows) -> EncodedRows:
    """The same rows, taken out of those that a trial learns from."""
    return EncodedRows(encoded.source.take(encoded.chosen), encoded.normaliser, encoded.bits)


@pytest.mark.slow
def test_a_ranker_of_chosen_rows_is_that_of_the_same_rows_alone(rows, tmp_path):
    shared = {"seed": 5, "fingerprint": "f", "schedule": replace(SCHEDULE, batch=64)}
    one, trained = fit_heavy(rows.learned, rows.targets, checkpoints=tmp_path / "one", **shared)
    other, again = fit_heavy(in_memory(rows.learned), rows.targets, checkpoints=tmp_path / "other", **shared)
    assert trained == again
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name


@pytest.mark.slow
def test_a_trial_is_judged_on_rows_it_did_not_learn_from_and_leaves_no_checkpoint(rows, tmp_path):
    trial = fit_trial(rows, 1e-3, tmp_path / "trial")
    assert trial.rate == 1e-3
    assert len(trial.losses) == rows.schedule.epochs
    assert trial.judged_loss == np.mean([trial.metrics[head]["log_loss"] for head in ("click", "video_view")])
    assert 0.5 < trial.metrics["click"]["auc"] < 1
    assert not (tmp_path / "trial").exists()
    again = fit_trial(rows, 1e-3, tmp_path / "trial")
    assert (again.losses, again.metrics) == (trial.losses, trial.metrics)


@pytest.mark.slow
def test_a_rate_that_leaves_the_numbers_fails(rows, tmp_path):
    with pytest.raises(FloatingPointError, match="heavy: loss is"):
        fit_trial(rows, 1e30, tmp_path)


def test_the_rate_of_the_tables_keeps_its_ratio():
    faster = rated(SCHEDULE, SCHEDULE.rate * 2)
    assert faster == replace(SCHEDULE, rate=SCHEDULE.rate * 2, table_rate=SCHEDULE.table_rate * 2)


def test_rates_come_once_and_in_order():
    assert checked_rates([1e-3, 5e-4, 1e-3]) == [5e-4, 1e-3]


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ([1e-3], "1 different rates are nothing to compare: give at least 2"),
        ([1e-3, 1e-3], "1 different rates"),
        ([], "0 different rates"),
        ([0.0, 1e-3], "learning rate of 0.0 teaches nothing"),
        ([-1e-3, 1e-3], "learning rate of -0.001"),
        ([float("nan"), 1e-3], "learning rate of nan"),
    ],
)
def test_rates_that_cannot_be_compared_are_refused(rates, said):
    with pytest.raises(TrialError, match=said):
        checked_rates(rates)


def test_too_few_rows_are_refused_by_what_they_are_for():
    few, enough = synthetic_rows(50), synthetic_rows(500)
    with pytest.raises(TrialError, match="50 rows to learn from are too few"):
        trial_rows(few, enough, **OPTIONS)
    with pytest.raises(TrialError, match="50 rows to judge on are too few"):
        trial_rows(enough, few, **OPTIONS)
