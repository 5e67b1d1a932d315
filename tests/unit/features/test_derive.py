"""Golden values of the read-time formulas, and their limits."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.aggregates.derive import NEVER_S, derive
from feature_repo.aggregates.ranking_state import DERIVED_NAMES, STATE_INDEX, Key, catalogue
from feature_repo.blocks import States
from feature_repo.heads import COMPLETED, LIKED, OPENED, prior_rate

NOON = 1_651_406_400_000_000
DAY_US = 86_400_000_000


def derived(now_us: int, **sums: float) -> dict[str, float]:
    """Derived columns of one key whose state was updated at NOON; `sums` name state columns with `__` for a dot."""
    state = States.empty(1).state.copy()
    for name, value in sums.items():
        state[0, STATE_INDEX[name.replace("__", ".")]] = value
    return dict(zip(DERIVED_NAMES, derive(state, np.array([NOON]), now_us)[0].tolist(), strict=True))


def test_a_window_of_24_hours_halves_in_a_day_and_the_plain_count_stays():
    columns = derived(NOON + DAY_US, impression__all=8, impression__24h=8)
    assert columns["log_impression.all"] == pytest.approx(np.log1p(8))
    assert columns["log_impression.24h"] == pytest.approx(np.log1p(4))


def test_rates_are_smoothed_toward_their_declared_belief():
    assert derived(NOON)["click_rate.all"] == pytest.approx(0.35)
    assert derived(NOON, impression__all=15, click__all=3)["click_rate.all"] == pytest.approx((3 + 5 * 0.35) / 20)


def test_lifetime_rate_takes_dated_and_undated_exposures_together():
    columns = derived(NOON, impression__all=5, video_view__all=1, prior_impression=10, prior_video_view=9)
    assert columns["lifetime_completed_rate"] == pytest.approx((1 + 9 + 5 * 0.25) / 20)


def test_time_since_the_last_click_grows_with_the_clock_and_never_is_a_year():
    columns = derived(NOON + 60_000_000, age__click=30)
    assert columns["log_since_opened"] == pytest.approx(np.log1p(90))
    assert columns["log_since_completed"] == pytest.approx(np.log1p(NEVER_S))


@pytest.mark.parametrize("action", OPENED)
def test_any_action_that_opens_a_post_is_counted_and_timed_as_an_opening(action):
    columns = derived(NOON + 60_000_000, **{f"age__{action}": 30, f"{action}__all": 3})
    assert columns["log_since_opened"] == pytest.approx(np.log1p(90))
    assert columns["log_opened.all"] == pytest.approx(np.log1p(3))


@pytest.mark.parametrize("action", COMPLETED)
def test_any_action_that_completes_a_post_is_counted_timed_and_rated_as_a_completion(action):
    columns = derived(NOON, **{f"age__{action}": 30, f"{action}__all": 3, "impression__all": 5})
    assert columns["log_since_completed"] == pytest.approx(np.log1p(30))
    assert columns["log_completed.all"] == pytest.approx(np.log1p(3))
    assert columns["lifetime_completed_rate"] == pytest.approx((3 + 5 * prior_rate(COMPLETED)) / 10)


def test_all_that_shows_liking_is_counted_together():
    columns = derived(NOON, **{f"{action}__all": 1 for action in LIKED})
    assert columns["log_liked.all"] == pytest.approx(np.log1p(len(LIKED)))


def test_a_moment_before_the_state_counts_as_the_state_s_own():
    assert derived(NOON - DAY_US, impression__24h=8) == derived(NOON, impression__24h=8)


def test_a_state_of_another_catalogue_is_refused():
    with pytest.raises(ValueError, match="rebuild the offline tables"):
        derive(np.zeros((1, 3), np.float32), np.zeros(1, np.int64), NOON)


def test_every_catalogue_feature_has_a_name_of_its_own_and_a_description():
    features = catalogue()
    assert len({feature["name"] for feature in features}) == len(features) == len(Key) * len(DERIVED_NAMES)
    assert all(feature["description"] for feature in features)
