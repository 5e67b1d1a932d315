"""Rows left out of training must not move the probabilities that come out of it."""

import numpy as np
import pytest

from feature_repo.feature_rows import HEADS
from flows.training.fit import train_bundle
from flows.training.negative_sampling import KeptNegativesError, among_kept, sample_negatives
from flows.training.teacher import soft_targets
from services.ranking.bundle import ModelBundle
from services.ranking.calibration import UnknownCalibration
from tests.synthetic_rows import synthetic_rows


@pytest.fixture(scope="module")
def labels():
    return synthetic_rows(20_000, seed=5).labels


def test_every_positive_is_kept_and_about_the_share_of_each_heads_negatives(labels):
    kept = sample_negatives(labels, 0.25, seed=3)
    for head in range(len(HEADS)):
        used = kept.rows[kept.used[:, head]]
        assert labels[used, head].sum() == labels[:, head].sum()
        assert (labels[used, head] == 0).sum() / (labels[:, head] == 0).sum() == pytest.approx(0.25, abs=0.02)
    assert len(kept.rows) < len(labels)


def test_a_share_of_one_keeps_all_and_shifts_nothing(labels):
    kept = sample_negatives(labels, 1.0, seed=3)
    assert kept.used.all()
    assert len(kept.rows) == len(labels)
    assert kept.logit_shift == 0.0


def test_the_same_seed_draws_the_same_rows(labels):
    first, again, other = (sample_negatives(labels, 0.5, seed).rows for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_shift_undoes_the_sampling_exactly():
    p = np.array([0.001, 0.1, 0.5, 0.9])
    sampled = among_kept(p, 0.2)
    back = np.log(sampled / (1 - sampled)) + np.log(0.2)
    np.testing.assert_allclose(back, np.log(p / (1 - p)), atol=1e-12)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
def test_a_share_that_keeps_none_or_more_than_all_is_refused(labels, share):
    with pytest.raises(KeptNegativesError, match=rf"is {share}; it lies in \(0, 1\]"):
        sample_negatives(labels, share, seed=1)


@pytest.mark.slow
def test_taught_targets_are_of_the_rows_that_are_kept():
    rows = synthetic_rows(2_000, seed=6)
    options = {"share": 0.5, "seed": 1, "threads": 1}
    whole, sampled = (soft_targets(rows, **options, kept_negatives=share) for share in (1.0, 0.25))
    expected = 2 * whole[:, 0] - rows.labels[:, 0]
    np.testing.assert_allclose(2 * sampled[:, 0] - rows.labels[:, 0], among_kept(expected, 0.25), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["isolation_transformer", "masknet"])
def test_a_ranker_of_half_the_negatives_predicts_the_shares_of_all_rows(preset, tmp_path):
    train, later = synthetic_rows(6_000, seed=1), synthetic_rows(3_000, seed=2)
    options = {"seed": 7, "threads": 1, "preset": preset, "kept_negatives": 0.4, "calibration": "none", "teacher_share": 0.5}
    bundle = ModelBundle.load(train_bundle(train, None, tmp_path / "b", **options).folder)
    assert bundle.details["kept_negatives"] == 0.4
    told = dict(zip(HEADS, bundle.details["calibration"], strict=True))
    assert told == {head: "none" if head in bundle.trained_heads else "constant" for head in HEADS}
    assert bundle.heavy_predict(later)[:, :4].mean(0) == pytest.approx(later.labels[:, :4].mean(0), abs=0.04)


def test_bad_options_are_refused_before_anything_is_trained(tmp_path):
    train = synthetic_rows(200, seed=1)
    with pytest.raises(UnknownCalibration, match="'beta'"):
        train_bundle(train, None, tmp_path / "b", seed=1, threads=1, calibration="beta")
    with pytest.raises(KeptNegativesError, match="is 0"):
        train_bundle(train, None, tmp_path / "b", seed=1, threads=1, kept_negatives=0)
    assert not (tmp_path / "b").exists()
