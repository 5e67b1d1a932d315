"""A person's answer has a name and a reason, and is given once."""

from __future__ import annotations

import pytest

from services.releases.approvals import ApprovalError, Approvals, NothingPending
from services.releases.ledger import Ledger
from tests.unit.releases.made_releases import built


@pytest.fixture
def approvals(tmp_path):
    url = f"sqlite:///{tmp_path}/platform.db"
    built(Ledger(url), "r1", "r2")
    return Approvals(url)


def test_a_question_waits_until_it_is_answered(approvals):
    asked = approvals.request("r1", "may it serve everybody?", {"users": 812})
    assert (asked.status, asked.evidence) == ("pending", {"users": 812})
    assert [question.release_id for question in approvals.pending()] == ["r1"]
    assert approvals.decision("r1") is None
    answer = approvals.approve("r1", " Ada ", "intervals are clear")
    assert (answer.status, answer.actor, answer.reason) == ("approved", "Ada", "intervals are clear")
    assert approvals.decision("r1") == answer
    assert approvals.pending() == []


def test_a_flow_that_restarts_asks_the_same_question(approvals):
    assert approvals.request("r1", "may it?").id == approvals.request("r1", "may it now?").id
    assert len(approvals.pending()) == 1


def test_a_rejected_release_may_be_asked_about_again(approvals):
    approvals.request("r1", "may it?")
    approvals.reject("r1", "Ada", "too early")
    assert approvals.decision("r1").status == "rejected"
    approvals.request("r1", "may it now?")
    assert approvals.decision("r1") is None


@pytest.mark.parametrize(("actor", "reason"), [("", "fine"), ("   ", "fine"), ("Ada", ""), ("Ada", "\t")])
def test_an_answer_without_a_name_or_a_reason_is_none(approvals, actor, reason):
    approvals.request("r1", "may it?")
    with pytest.raises(ApprovalError, match="is empty"):
        approvals.approve("r1", actor, reason)
    assert approvals.decision("r1") is None


def test_nobody_answers_what_nobody_asked(approvals):
    with pytest.raises(NothingPending, match="no approval request"):
        approvals.approve("r2", "Ada", "fine")


def test_an_answer_is_final(approvals):
    approvals.request("r1", "may it?")
    approvals.approve("r1", "Ada", "fine")
    with pytest.raises(NothingPending, match="already approved by Ada"):
        approvals.reject("r1", "Eve", "changed my mind")


def test_only_known_releases_are_asked_about(approvals):
    with pytest.raises(ApprovalError, match="'r9' is not in the ledger"):
        approvals.request("r9", "may it?")
