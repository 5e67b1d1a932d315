"""A served page becomes the events that its person's true tastes give, as intake takes them."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from feature_repo.contracts import Action
from feature_repo.datasets.world import World, WorldConfig
from feature_repo.datasets.world.day_curve import DAY_US
from flows.demo.traffic.page_answers import SECOND_US, SECONDS_A_POST, Look, answer_looks
from services.intake.events import ClientEvent

CONFIG = WorldConfig(users=200, posts=400, days=6)


@pytest.fixture(scope="module")
def world() -> World:
    return World(CONFIG)


def looks(world: World, n: int = 30) -> list[Look]:
    rng = np.random.default_rng(3)
    return [
        Look(
            user_id=int(rng.integers(CONFIG.users)),
            request_id=f"r{place}",
            product="for_you",
            post_ids=rng.permutation(CONFIG.posts)[: 1 + place % 10].tolist(),
            first_slot=place % 3 * 10,
            shown_us=world.start_us + int(rng.integers(5 * DAY_US)),
        )
        for place in range(n)
    ]


def test_answers_are_the_worlds_for_what_was_served_where_it_stood(world):
    for look in looks(world, 5):
        (answer,) = answer_looks(world, [look])
        size = len(look.post_ids)
        at = look.shown_us + np.arange(size) * SECONDS_A_POST * SECOND_US
        truth = world.respond(np.full(size, look.user_id), np.array(look.post_ids), at, look.first_slot + np.arange(size))
        assert np.array_equal(answer.clicked, truth[Action.CLICK])
        sent = {(event["post_id"], event["action"]) for event in answer.events}
        expected = {
            (post, action.value)
            for action, answers in truth.items()
            for post, did in zip(look.post_ids, answers, strict=True)
            if did
        }
        assert sent == expected | {(post, "impression") for post in look.post_ids}


def test_answers_do_not_depend_on_who_is_answered_beside(world):
    some = looks(world)
    together = answer_looks(world, some)
    for look, answer in zip(some, together, strict=True):
        (alone,) = answer_looks(world, [look])
        assert alone.events == answer.events and np.array_equal(alone.not_interested, answer.not_interested)


def test_every_event_is_one_that_intake_takes(world):
    for look, answer in zip(some := looks(world), answer_looks(world, some), strict=True):
        events = [ClientEvent.model_validate({"user_id": look.user_id, **event}) for event in answer.events]
        moments = [event.occurred_at for event in events]
        assert moments == sorted(moments)
        assert events[0].action == "impression" and events[0].position == look.first_slot
        assert {event.request_id for event in events} == {look.request_id}
        assert round(max(moments).timestamp() * 1e6) < look.end_us
        assert all((event.value or 0) > 0 for event in events if event.action in ("dwell", "video_view"))
        assert all(event.value is None for event in events if event.action not in ("dwell", "video_view"))
    ids = [event["event_id"] for answer in answer_looks(world, some) for event in answer.events]
    assert len(ids) == len(set(ids))


def test_an_action_follows_its_own_impression(world):
    for answer in answer_looks(world, looks(world)):
        shown = {event["post_id"]: event["occurred_at"] for event in answer.events if event["action"] == "impression"}
        for event in answer.events:
            later = datetime.fromisoformat(event["occurred_at"]) - datetime.fromisoformat(shown[event["post_id"]])
            assert later.total_seconds() == {"impression": 0, "click": 1, "not_interested": 2, "dwell": 8}.get(
                event["action"], 4
            )


def test_a_post_that_is_not_of_this_world_is_seen_and_not_answered(world):
    known = looks(world)[4]
    mixed = Look(known.user_id, "r", "for_you", [CONFIG.posts + 5, "someone's", *known.post_ids], 0, known.shown_us)
    (answer,) = answer_looks(world, [mixed])
    of_strangers = [event["action"] for event in answer.events if event["post_id"] in mixed.post_ids[:2]]
    assert of_strangers == ["impression", "impression"]
    assert not answer.clicked[:2].any()


def test_nothing_to_look_at_is_no_answer(world):
    assert answer_looks(world, []) == []
