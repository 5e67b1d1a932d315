"""A canary stage that was killed after its decision takes that decision up, and begins no second release."""

from __future__ import annotations

import time

import pytest

from flows.demo import canaries
from flows.demo.canaries import SPENT_GRACE_S, TrafficSpent, _Traffic, decided_release
from flows.traffic.asker import ReplayFailed
from infra.settings import Settings
from services.gateway.ledger import Ledger
from tests.unit.gateway.releases import built, manifest


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    ledger = Ledger(f"sqlite:///{tmp_path / 'platform.db'}")
    built(ledger, "r1")
    ledger.transition("r1", "live", "flow", "first release")
    ledger.create(manifest("r2", model_version="4"), "builder")
    ledger.register_arm("r2", "http://127.0.0.1:9")
    return ledger


def test_a_release_on_its_way_is_not_decided(ledger):
    assert decided_release(ledger, "4") is None
    ledger.transition("r2", "canary", "flow", "try it", percent=50)
    assert decided_release(ledger, "4") is None


def test_a_rolled_back_release_is_found_by_its_model(ledger):
    ledger.transition("r2", "canary", "flow", "try it", percent=50)
    ledger.transition("r2", "rolled_back", "judge", "log loss is worse")
    assert decided_release(ledger, "4") == "r2"
    assert decided_release(ledger, "5") is None


def test_a_live_release_is_decided(ledger):
    assert decided_release(ledger, "3") == "r1"


def test_a_canary_that_was_given_up_without_a_verdict_is_tried_again(ledger):
    ledger.transition("r2", "canary", "flow", "try it", percent=50)
    ledger.transition("r2", "rolled_back", "judge", "no verdict in time", evidence={"decision": "inconclusive"})
    assert decided_release(ledger, "4") is None


def test_an_error_of_the_traffic_reaches_the_stage(ledger):
    traffic = _Traffic(Settings(), ledger, "r2")
    traffic.raise_error()
    traffic.error = ReplayFailed("the gateway answered nothing")
    with pytest.raises(ReplayFailed, match="nothing"):
        traffic.raise_error()


@pytest.fixture
def spent(ledger) -> _Traffic:
    """Traffic whose last visit is over for longer than the judge needs."""
    ledger.transition("r2", "canary", "flow", "try it", percent=50)
    traffic = _Traffic(Settings(), ledger, "r2")
    traffic.report, traffic.spent_at = {"requests": 57}, time.monotonic() - SPENT_GRACE_S
    return traffic


def test_a_canary_whose_traffic_is_spent_is_not_waited_for(spent):
    with pytest.raises(TrafficSpent, match="all 57 visits .* r2 has no verdict"):
        spent.raise_if_spent()


def test_the_judge_has_a_while_for_the_last_visits(spent):
    spent.spent_at = time.monotonic()
    spent.raise_if_spent()


def test_spent_traffic_is_no_error_where_the_judge_has_decided(spent, ledger):
    ledger.transition("r2", "rolled_back", "judge", "log loss is worse")
    spent.raise_if_spent()


@pytest.mark.parametrize("decision", ["rollback", "inconclusive"])
def test_a_bad_release_that_was_only_given_up_was_not_caught(monkeypatch, decision):
    outcome = {"release": "r3", "state": "rolled_back", "reason": "no verdict in time", "verdict": {"decision": decision}}
    monkeypatch.setattr(canaries, "ensure_arms", lambda settings: None)
    monkeypatch.setattr("flows.training.registered_versions.register_negated", lambda settings, model: "5")
    monkeypatch.setattr(canaries, "_canary", lambda settings, version, note, approve: outcome)
    if decision == "rollback":
        assert canaries.bad_release_is_rolled_back(Settings()) == outcome
    else:
        with pytest.raises(RuntimeError, match="r3 ended rolled_back, but not by the judge's verdict: no verdict in time"):
            canaries.bad_release_is_rolled_back(Settings())
