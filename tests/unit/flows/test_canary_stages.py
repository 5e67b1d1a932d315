"""A canary stage that was killed after its decision takes that decision up, and begins no second release."""

from __future__ import annotations

import re
import time

import pytest

from flows.demo import canaries
from flows.demo.canaries import _give_up, decided_release, require_users
from flows.demo.canary_traffic import SPENT_GRACE_S, ReplayedTraffic, TrafficFailed, TrafficSpent, spent_traffic
from flows.demo.traffic.asker import ReplayFailed
from flows.steps.too_little import TooLittleData
from infra.settings import Settings
from services.releases.ledger import Ledger
from tests.unit.releases.made_releases import built, manifest


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
    traffic = ReplayedTraffic(Settings(), ledger, "r2")
    traffic.raise_error()
    traffic.error = ReplayFailed("the gateway answered nothing")
    with pytest.raises(ReplayFailed, match="nothing"):
        traffic.raise_error()


@pytest.fixture
def spent(ledger, tmp_path) -> ReplayedTraffic:
    """Traffic whose last visit is over for longer than the judge needs."""
    ledger.transition("r2", "canary", "flow", "try it", percent=50)
    settings = Settings(home=tmp_path)
    traffic = ReplayedTraffic(settings, ledger, "r2")
    traffic.report, traffic.spent_at = {"requests": 57}, time.monotonic() - SPENT_GRACE_S
    return traffic


def test_a_canary_whose_traffic_is_spent_is_not_waited_for(spent):
    assert re.search("all 57 visits .* r2 has no verdict: the judge has seen no visit", str(spent.spent()))


def test_the_judge_has_a_while_for_the_last_visits(spent):
    spent.spent_at = time.monotonic()
    assert spent.spent() is None


def test_spent_traffic_is_no_error_where_the_judge_has_decided(spent, ledger):
    ledger.transition("r2", "rolled_back", "judge", "log loss is worse")
    assert spent.spent() is None


def test_errors_are_named_as_the_reason_and_not_the_number_of_users():
    report = {"requests": 276, "errors": 276, "first_error": "422 at /score: there is no product 'news'"}
    failed = spent_traffic("r2", report, "too few users: 0 on the live release and 0 on the canary")
    assert isinstance(failed, TrafficFailed)
    assert str(failed) == "276 of 276 visits were errors, the first: 422 at /score: there is no product 'news'"


def test_without_errors_the_judges_own_words_say_what_it_still_needed():
    spent = spent_traffic("r2", {"requests": 57, "errors": 0}, "too few users: 30 and 27, 200 are needed in each")
    assert isinstance(spent, TrafficSpent)
    assert str(spent).endswith("r2 has no verdict: too few users: 30 and 27, 200 are needed in each")


def test_a_canary_that_is_given_up_leaves_the_route_and_decided_nothing(ledger):
    ledger.transition("r2", "canary", "flow", "try it", percent=50)
    _give_up(ledger, "r2", "its traffic is spent")
    assert ledger.route().canary is None
    assert decided_release(ledger, "4") is None
    _give_up(ledger, "r2", "its traffic is spent")  # a second time changes nothing
    assert ledger.state("r2") == "rolled_back"


@pytest.mark.parametrize(("users", "said"), [(0, "there are no canary days"), (3, "too few users for a canary: 3 on")])
def test_too_few_users_for_a_canary_are_said_before_it_begins(users, said):
    with pytest.raises(TooLittleData, match=said):
        require_users(users, 400, "to promote a release")
    require_users(400, 400, "to promote a release")


@pytest.mark.parametrize("decision", ["rollback", "inconclusive"])
def test_a_bad_release_that_was_only_given_up_was_not_caught(monkeypatch, decision):
    outcome = {"release": "r3", "state": "rolled_back", "reason": "no verdict in time", "verdict": {"decision": decision}}
    monkeypatch.setattr(canaries, "ensure_arms", lambda settings: None)
    monkeypatch.setattr(canaries, "is_simulated", lambda settings: False)
    monkeypatch.setattr(canaries, "canary_users", lambda settings, most_events: 1_000)
    monkeypatch.setattr("flows.training.registered_versions.register_negated", lambda settings, model: "5")
    monkeypatch.setattr(canaries, "_canary", lambda settings, version, note, approve, most_events: outcome)
    if decision == "rollback":
        assert canaries.bad_release_is_rolled_back(Settings()) == outcome
    else:
        with pytest.raises(RuntimeError, match="r3 ended rolled_back, but not by the judge's verdict: no verdict in time"):
            canaries.bad_release_is_rolled_back(Settings())
