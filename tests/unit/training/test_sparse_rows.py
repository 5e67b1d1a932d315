"""Exposures that say little train and are judged all the same, and what they cannot say is said in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_repo.feature_rows import HEADS, FeatureRows
from flows.training.fit import train_bundle
from flows.training.measured import measured
from tests.synthetic_rows import synthetic_rows

OPTIONS = {"seed": 7, "threads": 1, "teacher_share": 0.5, "ensemble": True, "epochs": 1}


def nothing_done(rows: FeatureRows) -> FeatureRows:
    return replace(rows, labels=np.zeros_like(rows.labels))


def everything_played(rows: FeatureRows) -> FeatureRows:
    labels = np.zeros_like(rows.labels)
    labels[:, HEADS.index("video_view")] = 1
    return replace(rows, labels=labels)


def no_clicks(rows: FeatureRows) -> FeatureRows:
    labels = rows.labels.copy()
    labels[:, HEADS.index("click")] = 0
    return replace(rows, labels=labels)


def _trained(rows: FeatureRows, folder: Path) -> str:
    return str(train_bundle(rows, None, folder, **OPTIONS).folder)


@pytest.mark.slow
@pytest.mark.parametrize("sparse", [nothing_done, everything_played, no_clicks])
def test_rows_with_little_to_learn_are_trained_on_and_judged(tmp_path, sparse):
    train, test = sparse(synthetic_rows(120, seed=1, posts=12, users=4)), sparse(synthetic_rows(80, seed=2, posts=12, users=4))
    found = measured(_trained(train, tmp_path / "bundle"), train, test, seed=7, threads=1)
    assert found["test_rows"] == 80
    assert set(found["metrics"]) >= {"popularity", "LightGBM", "heavy ranker"}
    silent = " ".join(found["not_measured"])
    assert ("no model is judged by one" in silent) == (sparse is not no_clicks)
    assert ("retrieval is not judged" in silent) == (sparse is nothing_done)


@pytest.mark.slow
def test_a_training_of_which_no_row_happens_to_be_held_out_has_no_ensemble(tmp_path, monkeypatch):
    monkeypatch.setattr("flows.training.learned_rows.CALIBRATION_SHARE", 0.0)
    report = train_bundle(synthetic_rows(120, seed=1, posts=12, users=4), None, tmp_path / "bundle", **OPTIONS)
    assert report.ensemble == {"used": False, "heads": {}}


@pytest.mark.slow
def test_a_training_without_an_ensemble_reports_none(tmp_path):
    options = {**OPTIONS, "ensemble": False}
    assert train_bundle(synthetic_rows(120, seed=1), None, tmp_path / "bundle", **options).ensemble == {}


@pytest.mark.slow
def test_a_catalogue_that_turns_over_and_a_test_without_rows_are_said(tmp_path):
    train = synthetic_rows(150, seed=1, posts=12, users=4)
    tomorrow = synthetic_rows(80, seed=2, posts=12, users=4)
    tomorrow = replace(tomorrow, post_id=tomorrow.post_id + 1_000)
    bundle = _trained(train, tmp_path / "bundle")
    found = measured(bundle, train, tomorrow, seed=7, threads=1, baselines=False)
    assert "retrieval" not in found
    assert found["not_measured"] == [
        "retrieval is not judged: of 80 test exposures 0 are of posts that training knew, and none of those was engaged with"
    ]
    none = measured(bundle, train, tomorrow.take(np.zeros(0, np.int64)), seed=7, threads=1)
    assert none["metrics"] == {}
    assert none["not_measured"] == ["not evaluated: there are no exposures after the training days to judge a model on"]
