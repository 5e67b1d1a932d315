"""People with roles and tokens: what each may do, and that nothing gives a token away."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from services.releases.approvals import Approvals
from services.releases.decisions import ACTIONS, decide
from services.releases.ledger import Ledger
from services.releases.people import REFUSALS_KEPT, People, PersonError
from services.releases.plan import RolloutPlan
from services.releases.roles import NEEDED, Role
from services.releases.rollouts import Rollouts
from services.releases.states import TransitionError
from tests.unit.releases.made_releases import built

NOW = datetime.now(UTC)


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'platform.db'}"


@pytest.fixture
def people(url) -> People:
    return People(url)


def test_a_token_is_known_by_its_hash_alone(people, tmp_path):
    token = people.add("Ada", Role.APPROVER)
    assert people.of_token(token).name == "Ada"
    assert people.of_token(f" {token}\n").name == "Ada"
    assert people.of_token(token[:-1]) is None
    assert people.of_token("") is None
    with sqlite3.connect(tmp_path / "platform.db") as connection:
        assert token not in "\n".join(connection.iterdump())


@pytest.mark.parametrize("role", Role)
def test_each_action_needs_its_role(people, role):
    person = people.of_token(people.add("Ada", role))
    allowed = {action for action in NEEDED if person.why_not(action, NOW) is None}
    takes_off = {"pause", "resume", "abort", "reject", "rollback"}
    assert (
        allowed
        == {
            Role.VIEWER: {"state"},
            Role.OPERATOR: {"state", "release", *takes_off},
            Role.APPROVER: {"state", "release", *takes_off, "approve", "promote"},
        }[role]
    )
    assert set(ACTIONS) <= set(NEEDED)


def test_an_expired_token_and_a_revoked_one_say_since_when(people):
    short = people.of_token(people.add("Ada", Role.APPROVER, days=1))
    assert short.why_not("approve", NOW) is None
    assert "the token of Ada expired at" in short.why_not("approve", NOW + timedelta(days=2))
    token = people.add("Bo", Role.OPERATOR)
    people.revoke("Bo")
    assert "the token of Bo was revoked at" in people.of_token(token).why_not("pause", NOW)


def test_who_was_revoked_may_be_added_again_with_a_new_token(people):
    old = people.add("Ada", Role.VIEWER)
    with pytest.raises(PersonError, match="Ada has a token already; revoke it first"):
        people.add("Ada", Role.APPROVER)
    people.revoke("Ada")
    new = people.add("Ada", Role.APPROVER)
    assert people.of_token(old) is None
    assert people.of_token(new).why_not("approve", NOW) is None


@pytest.mark.parametrize(("name", "days", "said"), [(" ", None, "the name is empty"), ("Ada", 0, "has expired already")])
def test_a_person_who_can_not_be_is_refused(people, name, days, said):
    with pytest.raises(PersonError, match=said):
        people.add(name, Role.VIEWER, days=days)


def test_revoking_nobody_is_named(people):
    with pytest.raises(PersonError, match="there is no 'Eve'"):
        people.revoke("Eve")


def test_refusals_are_kept_newest_first_up_to_a_bound(people):
    for place in range(REFUSALS_KEPT + 5):
        people.refused("Eve", f"approve r{place}", "the token is nobody's")
    kept = people.refusals(most=10_000)
    assert len(kept) == REFUSALS_KEPT
    assert kept[0]["what"] == f"approve r{REFUSALS_KEPT + 4}"


def test_with_four_eyes_whoever_went_past_the_judge_may_not_approve(url):
    ledger = Ledger(url)
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    ledger.transition("r2", "canary", "controller", "try it", percent=50)
    ledger.transition("r2", "awaiting_approval", "Cy", "in a hurry")
    Approvals(url).request("r2", "may it?")
    with pytest.raises(TransitionError, match="Cy moved r2 up without the judge, and may not approve it too"):
        decide(url, "r2", "approve", "Cy", "mine too", four_eyes=True)
    assert decide(url, "r2", "approve", "Bo", "looked at the pages", four_eyes=True)["approval"]["actor"] == "Bo"


def test_nobody_is_added_whose_name_reads_like_another_one(url):
    People(url).add("Ada", Role.APPROVER)
    with pytest.raises(PersonError, match="there is 'Ada' already"):
        People(url).add("ada", Role.APPROVER)
    with pytest.raises(PersonError, match="characters that nobody sees"):
        People(url).add("Bo\0", Role.VIEWER)


def test_with_four_eyes_whoever_asked_for_a_release_may_not_approve_it(url):
    ledger = Ledger(url)
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    Rollouts(url).submit("r2", RolloutPlan(), "Ada")
    ledger.transition("r2", "canary", "controller", "try it", percent=50)
    ledger.transition("r2", "awaiting_approval", "controller", "no harm")
    Approvals(url).request("r2", "may it?")
    with pytest.raises(TransitionError, match="Ada asked for r2, and may not approve it too"):
        decide(url, "r2", "approve", "Ada", "mine is good", four_eyes=True)
    with pytest.raises(TransitionError, match="aDa asked for r2, and may not approve it too"):
        decide(url, "r2", "approve", "aDa", "spelt otherwise", four_eyes=True)
    assert decide(url, "r2", "approve", "Bo", "looked at the pages", four_eyes=True)["approval"]["actor"] == "Bo"
