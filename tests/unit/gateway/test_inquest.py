"""When the door takes a release off by itself: it alone is broken, seen on requests that another release answered too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.inquest import FastPathPolicy, Heard, Inquests, wrong_with

LATE = Heard("no answer in time", 1.5)
WELL, ERROR, SLOW = Heard(None, 0.02), Heard("error 500", 0.02), Heard(None, 3.0)
POLICY = FastPathPolicy()


def usual(inquests: Inquests, release: str = "r1") -> None:
    """The release has answered as it always does."""
    for place in range(20):
        inquests.heard(release, None, WELL, place / 100)


def pairs(inquests: Inquests, suspect: Heard, other: Heard, count: int, now: float = 1.0, users: int = 100) -> list[str]:
    found = [inquests.pair("r2", "r1", f"user {place % users}", suspect, other, now + place / 100) for place in range(count)]
    return [finding for finding in found if finding]


@pytest.mark.parametrize("bad", [ERROR, Heard("an empty page", 0.02)])
def test_a_release_that_is_broken_is_found_by_five_requests(bad):
    inquests = Inquests()
    usual(inquests)
    inquests.heard("r2", "r1", bad, 1.0)
    assert inquests.suspected("r2", 1.0)
    found = pairs(inquests, bad, WELL, 5)
    assert len(found) == 1
    assert found[0].startswith(f"5 of 5 answers were bad, most often {bad.wrong}")
    assert not inquests.suspected("r2", 1.1)  # the case is closed


@pytest.mark.parametrize(("bad", "words"), [(SLOW, "slow"), (LATE, "no answer in time")])
def test_a_release_that_is_slow_or_late_is_found_when_it_stays_so_and_not_by_a_busy_moment(bad, words):
    inquests = Inquests()
    usual(inquests)
    inquests.heard("r2", "r1", bad, 1.0)
    assert pairs(inquests, bad, WELL, 20) == []  # all within a fifth of a second
    found = pairs(inquests, bad, WELL, 1, now=3.6)
    assert len(found) == 1
    assert f"most often {words}" in found[0]


def test_a_process_that_stood_still_for_some_seconds_is_no_broken_release():
    inquests = Inquests()
    usual(inquests)
    inquests.heard("r2", "r1", LATE, 1.0)
    assert pairs(inquests, LATE, WELL, 8) == []
    assert pairs(inquests, WELL, WELL, 12, now=3.0) == []
    assert pairs(inquests, WELL, WELL, 5, now=3.7) == []


def found_in_rounds(bad: Heard, rounds: int, apart_s: float = 10.0) -> list[str]:
    """What inquests into a release with all the load find, one after the other."""
    inquests, found = Inquests(), []
    usual(inquests)
    for place in range(rounds):
        now = 1.0 + place * apart_s
        inquests.heard("r2", "r1", bad, now)
        pair = [inquests.pair("r2", "r1", f"u{n}", bad, WELL, now + 2.6 + n / 100, loaded=True) for n in range(5)]
        found += [finding for finding in pair if finding]
    return found


@pytest.mark.parametrize("bad", [SLOW, LATE])
def test_a_release_with_all_the_load_is_not_slow_because_one_without_any_is_quicker(bad):
    assert found_in_rounds(bad, 6) == []


def test_a_release_with_all_the_load_that_errs_is_found_at_once():
    assert len(found_in_rounds(ERROR, 1)) == 1


@pytest.mark.parametrize("bad", [ERROR, SLOW])
def test_what_is_wrong_with_both_condemns_neither(bad):
    inquests = Inquests()
    usual(inquests)
    inquests.heard("r2", "r1", bad, 1.0)
    assert inquests.suspected("r2", 1.0)
    assert pairs(inquests, bad, bad, 50) == []


def test_one_users_odd_request_is_no_broken_release():
    inquests = Inquests()
    inquests.heard("r2", "r1", ERROR, 1.0)
    assert pairs(inquests, ERROR, WELL, 50, users=2) == []


def test_a_single_bad_answer_is_cleared_and_rests_a_while():
    inquests = Inquests()
    inquests.heard("r2", "r1", ERROR, 1.0)
    assert pairs(inquests, WELL, WELL, 20) == []
    over = 1.0 + POLICY.lasts_s + POLICY.copy_s + 0.1
    assert not inquests.suspected("r2", over)
    inquests.heard("r2", "r1", ERROR, over)
    assert not inquests.suspected("r2", over)
    inquests.heard("r2", "r1", ERROR, over + POLICY.rest_s + 0.1)
    assert inquests.suspected("r2", over + POLICY.rest_s + 0.1)


def test_after_a_finding_it_rests_too():
    inquests = Inquests()
    inquests.heard("r2", "r1", ERROR, 1.0)
    assert pairs(inquests, ERROR, WELL, 5)
    inquests.heard("r2", "r1", ERROR, 1.2)
    assert not inquests.suspected("r2", 1.2)


def test_a_second_answer_that_took_as_long_as_it_may_still_counts():
    inquests = Inquests()
    inquests.heard("r2", "r1", ERROR, 1.0)
    last = 1.0 + POLICY.lasts_s + POLICY.copy_s - 0.2
    assert pairs(inquests, Heard("no answer in time", POLICY.copy_s), WELL, 5, now=last)
    assert POLICY.lasts_s + POLICY.copy_s < 5


def test_a_good_answer_or_one_that_may_not_opens_nothing_and_a_pair_without_a_case_finds_nothing():
    inquests = Inquests()
    inquests.heard("r2", "r1", WELL, 1.0)
    inquests.heard("r2", "r1", ERROR, 1.0, may_open=False)
    assert not inquests.suspected("r2", 1.0)
    assert pairs(inquests, ERROR, WELL, 20) == []


def test_an_answer_that_is_still_quick_is_not_slow_whatever_the_usual():
    inquests = Inquests()
    usual(inquests)
    inquests.heard("r2", "r1", Heard(None, POLICY.slow_s - 0.01), 1.0)
    assert not inquests.suspected("r2", 1.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_no_release_is_condemned_unless_half_of_its_answers_are_bad_and_the_others_are_well(answers):
    inquests = Inquests()
    inquests.heard("r2", "r1", ERROR, 0.0)
    bad = other_bad = 0
    for place, (suspect, other) in enumerate(answers, start=1):
        bad, other_bad = bad + suspect, other_bad + other
        of_suspect, of_other = (ERROR if wrong else WELL for wrong in (suspect, other))
        if inquests.pair("r2", "r1", f"user {place}", of_suspect, of_other, 0.01):
            assert place >= POLICY.least_pairs and bad >= place / 2 and other_bad <= place / 10
            return


def test_what_the_door_sees_of_an_answer():
    assert wrong_with(503, b"", "/for_you") == "error 503"
    assert wrong_with(200, b'{"posts":[]}', "/for_you") == "an empty page"
    assert wrong_with(200, b'{"posts":[{"post_id":1,"score":null}]}', "/following") == "scores that are no numbers"
    assert wrong_with(200, b'{"posts":[{"post_id":1,"score":0.5}]}', "/for_you") is None
    assert wrong_with(422, b"{}", "/for_you") is None  # the client's own mistake
    assert wrong_with(200, b'{"scores":[{"score":null}]}', "/score") is None  # a post that nobody knows
