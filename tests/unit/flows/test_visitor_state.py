"""What the visitors lived through outlives their process, and what a day did to them moves the next one."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.contracts import Action
from feature_repo.datasets.world import World, WorldConfig
from flows.demo.traffic.visitor_state import VisitorFile, VisitorsElsewhere, VisitorState

WORLD = World(WorldConfig(users=50, posts=100, days=5))
OF = "world abc and seed 7"


@pytest.fixture
def state() -> VisitorState:
    state = VisitorState(OF, day=5, world_us=WORLD.start_us + 123, satisfaction=WORLD.first_satisfaction())
    state.visited(3, 0, np.array([True, True]), np.array([False, False]))
    state.visited(9, 1, np.array([False, False]), np.array([True, False]))
    state.tally.page("r1", 20.0)
    state.tally.looked("r1", np.array([True, True]), np.array([False, False]))
    state.tally.error("503 at /for_you: too much to do")
    return state


def test_a_day_moves_satisfaction_as_the_world_says(state):
    clicks = {Action.CLICK: np.array([1, 1, 0, 0], bool), Action.NOT_INTERESTED: np.array([0, 0, 1, 0], bool)}
    expected = WORLD.satisfaction_after(WORLD.first_satisfaction(), np.array([3, 3, 9, 9]), clicks)
    assert np.array_equal(state.satisfaction_so_far(WORLD), expected)
    state.end_day(WORLD)
    assert np.array_equal(state.satisfaction, expected)
    assert state.satisfaction[3] > state.satisfaction[0] > state.satisfaction[9]
    assert (state.day, state.done, state.seen) == (6, set(), [])
    state.end_day(WORLD)  # a day without visits changes nobody
    assert np.array_equal(state.satisfaction, expected)


def test_what_was_kept_goes_on_where_it_stood(state, tmp_path):
    file = VisitorFile(tmp_path / "visitors")
    assert file.load(OF) is None
    file.save(state)
    kept = file.load(OF)
    assert (kept.day, kept.world_us, kept.done) == (5, WORLD.start_us + 123, {(3, 0), (9, 1)})
    assert kept.tally.counts() == state.tally.counts()
    assert kept.tally.by_release()["r1"] == state.tally.by_release()["r1"]
    kept.visited(9, 2, np.array([True]), np.array([False]))
    state.visited(9, 2, np.array([True]), np.array([False]))
    kept.end_day(WORLD)
    state.end_day(WORLD)
    assert np.array_equal(kept.satisfaction, state.satisfaction)


def test_who_followed_an_author_does_not_follow_again_and_likes_the_author_more(tmp_path):
    world = World(WorldConfig(users=50, posts=100, days=5))
    user, post = next((u, p) for u in range(20, 50) for p in range(100) if not _follows(world, u, p))
    before = world.probabilities([user], [post], world.start_us, 0)
    state = VisitorState(OF, day=5, world_us=0, satisfaction=world.first_satisfaction(), follows=[(user, post)])
    VisitorFile(tmp_path).save(state)
    VisitorFile(tmp_path).load(OF).end_day(world)
    after = world.probabilities([user], [post], world.start_us, 0)
    assert before[Action.FOLLOW] > 0 == after[Action.FOLLOW]
    assert after[Action.CLICK] > before[Action.CLICK]


def _follows(world: World, user: int, post: int) -> bool:
    return world.probabilities([user], [post], world.start_us, 0)[Action.FOLLOW][0] == 0.0


def test_a_checkpoint_of_another_world_or_seed_is_refused_with_what_to_do(state, tmp_path):
    file = VisitorFile(tmp_path)
    file.save(state)
    with pytest.raises(
        VisitorsElsewhere, match="goes on with world abc and seed 7, not with world abc and seed 8.*remove the file"
    ):
        file.load("world abc and seed 8")


def test_two_processes_do_not_live_the_same_lives(tmp_path):
    with VisitorFile(tmp_path).alone(), pytest.raises(VisitorsElsewhere, match="already"), VisitorFile(tmp_path).alone():
        pass
    with VisitorFile(tmp_path).alone():
        pass
