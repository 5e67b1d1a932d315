"""Laws of the traffic split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.releases.route import Route
from services.releases.split import BUCKETS, bucket, in_canary, release_of

USERS = st.integers(0, 2**63 - 1)
SALTS = st.text(min_size=1, max_size=20)
PERCENTS = st.floats(0.01, 99.99)


@given(USERS, SALTS)
def test_a_user_keeps_a_bucket(user_id, salt):
    assert bucket(user_id, salt) == bucket(user_id, salt)
    assert 0 <= bucket(user_id, salt) < BUCKETS


def test_buckets_do_not_change_between_processes_and_versions():
    assert [bucket(user, "r2") for user in (0, 1, 17, 2**62)] == [7484, 88, 7389, 5243]
    assert [bucket(str(user), "r2") for user in (0, 1, 17, 2**62)] == [7484, 88, 7389, 5243]


@given(USERS, SALTS, PERCENTS, PERCENTS)
def test_who_is_in_a_small_canary_is_in_a_larger_one(user_id, salt, one, other):
    small, large = sorted((one, other))
    assert not in_canary(user_id, salt, small) or in_canary(user_id, salt, large)


@given(USERS, SALTS)
def test_nobody_is_in_at_zero_and_everybody_at_a_hundred(user_id, salt):
    assert not in_canary(user_id, salt, 0)
    assert in_canary(user_id, salt, 100)


@pytest.mark.parametrize("percent", [1, 5, 25, 50])
def test_the_share_of_users_is_what_was_asked_for(percent):
    n = 40_000
    share = sum(in_canary(user, "r2", percent) for user in range(n)) / n
    p = percent / 100
    assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / n)


def test_rollouts_draw_their_users_independently():
    n = 20_000
    first, second = (np.array([in_canary(user, salt, 50) for user in range(n)]) for salt in ("r2", "r3"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(n)


@given(USERS)
def test_without_a_canary_everyone_meets_the_live_release(user_id):
    assert release_of(user_id, Route(live="r1")) == "r1"
    assert release_of(user_id, Route()) is None


@given(USERS, PERCENTS)
def test_the_route_sends_each_user_to_one_of_its_two_releases(user_id, percent):
    route = Route(live="r1", canary="r2", canary_percent=percent, salt="r2")
    assert release_of(user_id, route) == ("r2" if in_canary(user_id, "r2", percent) else "r1")
