"""A rollout's plan: rising steps of at most half of the users."""

from __future__ import annotations

import pytest

from services.releases.plan import RolloutPlan


def test_without_a_wish_the_ramp_is_the_default():
    assert RolloutPlan().ramp == RolloutPlan(ramp=()).ramp == RolloutPlan(ramp=None).ramp == (1.0, 5.0, 25.0, 50.0)


def test_the_next_step_is_the_first_above_where_the_canary_is():
    plan = RolloutPlan(ramp=(1, 5, 50))
    assert [plan.after(percent) for percent in (0, 1, 3, 5, 50)] == [1, 5, 5, 50, None]


@pytest.mark.parametrize("ramp", [(5, 1), (5, 5), (0, 5), (5, 60), (-1,)])
def test_steps_that_do_not_rise_or_leave_no_control_are_refused(ramp):
    with pytest.raises(ValueError, match="give rising percentages"):
        RolloutPlan(ramp=ramp)


def test_a_plan_comes_back_from_its_text_as_it_was():
    plan = RolloutPlan(ramp=(2.5, 10), step_timeout_s=60, min_users=7, deciding_heads=("click", "like"))
    assert RolloutPlan.model_validate_json(plan.model_dump_json()) == plan
