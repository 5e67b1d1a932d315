"""A training with little time learns from some of the users, one without a limit from all, and both say beforehand how long."""

from __future__ import annotations

import numpy as np
import pytest

from flows import train
from flows.steps.progress import listening
from flows.train import learned_rows, minutes
from flows.training.chosen_options import training_options
from flows.training.limits import TrainingLimits
from flows.training.training_speed import keep_speed
from infra.settings import Settings
from tests.synthetic_rows import synthetic_rows


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    settings = Settings(home=tmp_path)
    monkeypatch.setattr(train, "get_settings", lambda: settings)
    return settings


def test_time_for_some_is_spent_on_whole_users_and_said_beforehand(settings):
    rows = synthetic_rows(6_000, seed=1, users=500)
    limits = TrainingLimits(seconds=10, epochs=1)
    keep_speed(settings.paths.home, training_options(settings, limits), rows=45_000, seconds=100.0)
    heard: list[str] = []
    with listening(heard.append), learned_rows(rows, np.arange(len(rows)), limits) as (learned, sample):
        assert 4_000 <= len(learned) < 5_200
        assert np.isin(rows.user_id, np.unique(learned.user_id)).sum() == len(learned)
    assert not sample.whole
    assert "of 6,000 exposures" in heard[0]
    assert "by the last such training, of 45,000 exposures" in heard[0]


def test_a_slow_machine_still_learns_from_the_least_rows(settings):
    rows = synthetic_rows(6_000, seed=1, users=500)
    limits = TrainingLimits(seconds=1, least_rows=5_500, epochs=1)
    keep_speed(settings.paths.home, training_options(settings, limits), rows=45_000, seconds=4_500.0)
    with learned_rows(rows, np.arange(len(rows)), limits) as (learned, _):
        assert len(learned) > 5_200


def test_without_a_limit_all_rows_are_learned_from_and_the_time_is_said(settings):
    rows = synthetic_rows(300, seed=1)
    keep_speed(settings.paths.home, training_options(settings), rows=45_000, seconds=4_500_000.0)
    heard: list[str] = []
    with listening(heard.append), learned_rows(rows, np.arange(300), None) as (learned, sample):
        assert learned is rows
    assert sample.whole
    assert "about 500 minutes" in heard[0]


def test_rows_that_judge_are_left_out_of_what_is_learned(settings):
    rows = synthetic_rows(300, seed=1)
    keep_speed(settings.paths.home, training_options(settings), rows=45_000, seconds=100.0)
    with learned_rows(rows, np.arange(0, 300, 2), None) as (learned, _):
        assert np.array_equal(learned.post_id, rows.post_id[::2])


def test_durations_are_said_as_people_say_them():
    assert (minutes(45.4), minutes(1_320)) == ("45 s", "22 minutes")
