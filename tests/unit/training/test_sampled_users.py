"""A training that has not the time for all learns from whole users, drawn alike every time."""

from __future__ import annotations

import numpy as np

from flows.training.limits import TrainingLimits
from flows.training.sampled_users import LEAST_ROWS, sampled_users
from flows.training.training_speed import keep_speed, known_speed

USERS = np.random.default_rng(1).integers(0, 2_000, 100_000)


def test_about_as_many_exposures_are_taken_as_asked_for_and_users_are_whole():
    sample = sampled_users(USERS, 20_000, seed=9)
    assert 18_000 < len(sample.index) < 22_000
    chosen = np.unique(USERS[sample.index])
    assert np.isin(USERS, chosen).sum() == len(sample.index)
    assert sample.words() == f"{len(sample.index):,} of 100,000 exposures: 20% of the users, drawn by a hash of their id"


def test_a_larger_sample_holds_the_smaller_one_and_enough_time_is_no_sample():
    small, large = sampled_users(USERS, 10_000, seed=9), sampled_users(USERS, 50_000, seed=9)
    assert np.isin(small.index, large.index).all()
    assert not small.whole
    assert sampled_users(USERS, 100_000, seed=9).whole


def test_three_users_are_never_drawn_down_to_nothing():
    three = np.repeat([1, 2, 3], 40_000)
    assert len(sampled_users(three, 10, seed=9).index) >= LEAST_ROWS


def test_the_speed_of_the_last_training_with_the_same_recipe_is_remembered(tmp_path):
    options = {"members": 2, "epochs": 1, "seed": 7}
    assert known_speed(tmp_path, options) is None
    keep_speed(tmp_path, options, rows=50_000, seconds=100.0)
    assert known_speed(tmp_path, {**options, "seed": 8}).rows_per_s == 500
    assert known_speed(tmp_path, {**options, "members": 1}) is None
    keep_speed(tmp_path, options, rows=100, seconds=50.0)  # mostly what any training costs
    assert known_speed(tmp_path, options).seconds(1_000) == 2.0


def test_limits_change_only_what_they_name():
    assert TrainingLimits().options() == {}
    assert TrainingLimits(seconds=30, epochs=1, ensemble=False).options() == {"epochs": 1, "ensemble": False}
