"""Policies are tried on past rollouts: the judge's word on the outcomes that were kept, with nothing changed by it."""

from __future__ import annotations

import io
from time import time

import pytest
from rich.console import Console

from flows.cli.release_verdicts import show_verdict, show_verdicts
from monitoring.canary.policy import JudgePolicy
from services.releases.retrospect import NeverJudged, Retrospect
from tests.unit.releases.controlled import Controlled, controlled


@pytest.fixture
def release(tmp_path, monkeypatch) -> Controlled:
    made = controlled(tmp_path, monkeypatch, time())
    made.look()
    return made


def retrospect(release: Controlled, **policy: object) -> Retrospect:
    return Retrospect(release.url, release.url, JudgePolicy.default().model_copy(update=policy))


def test_a_past_rollout_is_judged_as_it_was_then(release):
    release.visits(400, harm=0.6)
    assert "rolled back" in release.look(1.0)
    judged = retrospect(release).judge("r2")
    assert (judged.ended.state, judged.ended.actor, judged.said) == ("rolled_back", "judge", "rollback")
    assert judged.verdict.decision == "rollback"
    assert "; ".join(judged.verdict.reasons) == judged.ended.reason


def test_another_policy_may_say_otherwise(release):
    release.visits(400, harm=0.6)
    release.look(1.0)
    assert retrospect(release, min_users=10_000, min_users_to_roll_back=10_000).judge("r2").verdict.decision == "inconclusive"


def test_a_rollout_that_goes_on_is_judged_as_of_now_and_nothing_is_changed(release):
    release.visits(400)
    entries, looks = release.controller.ledger.entries(), release.controller.looks.all("r2")
    judged = retrospect(release).judge("r2", now=release.clock + 1)
    assert judged.ended is None
    assert judged.verdict.decision == "promote"
    assert release.controller.ledger.entries() == entries
    assert release.controller.looks.all("r2") == looks


def test_a_release_that_was_no_canary_has_nothing_to_be_judged_by(release):
    with pytest.raises(NeverJudged, match="r1 is live and was no canary"):
        retrospect(release).judge("r1")


def test_every_rollout_stands_in_the_table(release):
    release.visits(400, harm=0.6)
    release.look(1.0)
    judged = retrospect(release, min_users=10_000, min_users_to_roll_back=10_000).judge_all()
    assert [one.release_id for one in judged] == ["r2"]
    out = Console(file=io.StringIO(), width=200)
    show_verdicts(judged, out)
    show_verdict(judged[0], out)
    text = out.file.getvalue()
    assert "otherwise than then: r2" in text
    assert "the judge now: inconclusive after 400 users of the canary" in text
