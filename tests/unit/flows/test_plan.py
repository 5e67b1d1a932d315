"""The tours' plans: what each takes, and what the quick one leaves out."""

from __future__ import annotations

import pytest

from flows.demo.plan import FULL, PLANS, QUICK, TOUR
from flows.training.limits import TrainingLimits
from flows.training.recipe import Recipe


def test_all_but_the_quick_tour_compare_with_boosted_trees():
    assert TOUR.train.baselines
    assert FULL.train is None
    assert TrainingLimits().baselines
    assert not QUICK.train.baselines


@pytest.mark.parametrize("plan", [TOUR, QUICK], ids=lambda plan: plan.name)
def test_a_tour_bounds_whatever_grows_with_the_data(plan):
    for limits in (plan.train, plan.retrain):
        assert limits.seconds
        Recipe(seed=1, threads=1, **limits.options())  # that the recipe knows, and accepts
    assert plan.train.judged_rows
    assert plan.replay_visits and plan.replay_events and plan.canary_events
    assert plan.drift_rows


def test_the_challenger_learns_for_longer_than_the_champion_did():
    """With fewer exposures behind it, it would be refused, and the tour would end without a canary."""
    for plan in (TOUR, QUICK):
        assert plan.retrain.seconds > plan.train.seconds
        assert plan.retrain.epochs == plan.train.epochs


def test_the_full_tour_leaves_nothing_out():
    assert (FULL.train, FULL.retrain, FULL.replay_visits, FULL.drift_rows) == (None, None, None, None)
    assert (FULL.replay_events, FULL.canary_events) == (None, None)
    assert set(PLANS) == {"tour", "quick", "full"}
