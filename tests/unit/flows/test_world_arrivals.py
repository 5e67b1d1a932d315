"""Who lives here and who comes when: a function of the world, the seed and what the feed made of people."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.datasets.world import World, WorldConfig, with_later_days
from feature_repo.datasets.world.day_curve import DAY_US
from flows.demo.traffic.world_arrivals import FOLLOWING_SHARE, arrivals, chosen_people

USERS = 400
DAY = 40


@pytest.fixture(scope="module")
def world() -> World:
    return World(with_later_days(WorldConfig(users=USERS, posts=500, days=6), 60))


def coming(world: World, seed: int = 7, people: str | None = None, satisfaction: float = 0.3):
    return arrivals(world, DAY, np.full(USERS, satisfaction), chosen_people(people, USERS, seed), seed)


def test_a_seed_gives_the_same_visits_again_and_another_seed_others(world):
    assert coming(world) == coming(world)
    assert coming(world, seed=8) != coming(world)


def test_visits_are_of_their_day_oldest_first_and_each_once(world):
    visits = coming(world)
    start_us = world.start_us + DAY * DAY_US
    moments = [visit.at_us for visit in visits]
    assert moments == sorted(moments) and start_us <= moments[0] and moments[-1] < start_us + DAY_US
    assert len({(visit.user_id, visit.number) for visit in visits}) == len(visits) > USERS / 2
    assert min(visit.length for visit in visits) >= 1


def test_with_the_worlds_own_seed_they_are_the_worlds_own_visits(world):
    own = world.visits_of(DAY, np.full(USERS, 0.3))
    assert [(visit.user_id, visit.at_us, visit.length) for visit in coming(world)] == list(
        zip(own.user_id.tolist(), own.at_us.tolist(), own.length.tolist(), strict=True)
    )


def test_the_satisfied_come_more_often_and_stay_longer(world):
    pleased, displeased = coming(world, satisfaction=0.9), coming(world, satisfaction=-0.3)
    assert len(pleased) > 1.5 * len(displeased)
    assert np.mean([visit.length for visit in pleased]) > np.mean([visit.length for visit in displeased])


def test_some_visits_open_following(world):
    share = np.mean([visit.product == "following" for day_seed in range(5) for visit in coming(world, seed=day_seed)])
    assert share == pytest.approx(FOLLOWING_SHARE, abs=0.03)


def test_only_those_who_live_here_come(world):
    people = chosen_people("50", USERS, 7)
    assert {visit.user_id for visit in coming(world, people="50")} <= set(people.tolist())


def test_people_can_be_a_number_or_a_share_and_fewer_are_among_more():
    assert chosen_people(None, USERS, 1).tolist() == list(range(USERS))
    fifty, fifth = chosen_people("50", USERS, 1), chosen_people("0.2", USERS, 1)
    assert (len(fifty), len(fifth)) == (50, 80)
    assert set(fifty.tolist()) < set(fifth.tolist())
    assert np.array_equal(fifth, chosen_people("20%", USERS, 1))


@pytest.mark.parametrize("asked", ["0", "401", "-3", "1.5", "0%", "some", ""])
def test_people_that_cannot_be_are_refused_with_what_can(asked):
    with pytest.raises(ValueError, match="a number from 1 to 400"):
        chosen_people(asked, USERS, 1)
