"""When the door takes a release off by itself: it alone is broken, seen on requests that another release answered too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.inquest import FastPathPolicy, Heard, Inquests, wrong_with

WELL, ERROR, SLOW = Heard(None, 0.02), Heard("error 500", 0.02), Heard(None, 3.0)
POLICY = FastPathPolicy()


def usual(inquests: Inquests, release: str = "r1") -> None:
    """The release has answered as it always does."""
    for place in range(20):
        inquests.heard(release, None, WELL, place / 100)


def pairs(inquests: Inquests, suspect: Heard, other: Heard, count: int, now: float = 1.0) -> list[str]:
    found = [inquests.pair("r2", "r1", suspect, other, now + place / 100) for place in range(count)]
    return [finding for finding in found if finding]


@pytest.mark.parametrize("bad", [ERROR, Heard("an empty page", 0.02), Heard("scores that are no numbers", 0.02), SLOW])
def test_a_release_that_is_broken_is_found_by_five_requests(bad):
    inquests = Inquests()
    usual(inquests)
    assert inquests.heard("r2", "r1", bad, 1.0)
    found = pairs(inquests, bad, WELL, 5)
    assert len(found) == 1
    assert found[0].startswith(f"5 of 5 answers were bad, most often {bad.wrong or 'slow'}")
    assert not inquests.suspected("r2", 1.1)  # the case is closed


def test_what_is_wrong_with_both_condemns_neither():
    inquests = Inquests()
    inquests.heard("r2", "r1", ERROR, 1.0)
    assert pairs(inquests, ERROR, ERROR, 50) == []


def test_a_single_bad_answer_is_cleared_and_rests_a_while():
    inquests = Inquests()
    assert inquests.heard("r2", "r1", ERROR, 1.0)
    assert pairs(inquests, WELL, WELL, 20) == []
    over = 1.0 + POLICY.lasts_s + 0.1
    assert not inquests.suspected("r2", over)
    assert not inquests.heard("r2", "r1", ERROR, over + 0.1)
    assert inquests.heard("r2", "r1", ERROR, over + POLICY.rest_s + 0.1)


def test_a_good_answer_opens_nothing_and_a_pair_without_a_case_finds_nothing():
    inquests = Inquests()
    assert not inquests.heard("r2", "r1", WELL, 1.0)
    assert pairs(inquests, ERROR, WELL, 20) == []


def test_slow_is_measured_by_what_is_usual_of_the_other_release():
    inquests = Inquests()
    assert inquests.wrong(SLOW, "r1") is None  # nothing is known of it yet
    usual(inquests)
    assert inquests.wrong(SLOW, "r1") == "slow"
    assert inquests.wrong(Heard(None, POLICY.slow_s - 0.01), "r1") is None  # many times the usual, and still quick


def test_an_inquest_ends_in_time_for_a_rollback_within_five_seconds():
    assert POLICY.lasts_s < 5


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_no_release_is_condemned_unless_half_of_its_answers_are_bad_and_the_others_are_well(answers):
    inquests = Inquests()
    inquests.heard("r2", "r1", ERROR, 0.0)
    bad = other_bad = 0
    for place, (suspect, other) in enumerate(answers, start=1):
        bad, other_bad = bad + suspect, other_bad + other
        finding = inquests.pair("r2", "r1", ERROR if suspect else WELL, ERROR if other else WELL, 0.01)
        if finding:
            assert place >= POLICY.least_pairs and bad >= place / 2 and other_bad <= place / 10
            return


def test_what_the_door_sees_of_an_answer():
    assert wrong_with(503, b"", "/for_you") == "error 503"
    assert wrong_with(200, b'{"posts":[]}', "/for_you") == "an empty page"
    assert wrong_with(200, b'{"posts":[{"post_id":1,"score":null}]}', "/following") == "scores that are no numbers"
    assert wrong_with(200, b'{"posts":[{"post_id":1,"score":0.5}]}', "/for_you") is None
    assert wrong_with(422, b"{}", "/for_you") is None  # the client's own mistake
    assert wrong_with(200, b'{"scores":[{"score":null}]}', "/score") is None  # a post that nobody knows
