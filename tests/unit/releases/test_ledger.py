"""The ledger: what it refuses, what it does in one transaction, and how it notices that someone was at it."""

from __future__ import annotations

import re
import sqlite3
import threading

import pytest
from sqlalchemy.exc import IntegrityError

from services.releases.approvals import ApprovalError, Approvals
from services.releases.ledger import Ledger, UnknownRelease
from services.releases.route import Route
from services.releases.states import ReleaseState, TransitionError
from tests.unit.releases.made_releases import approved_live, built, manifest


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/platform.db"


@pytest.fixture
def ledger(url):
    return Ledger(url)


def tamper(url: str, statement: str) -> None:
    """Change the file behind the ledger's back: without the triggers that refuse it."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        for trigger in ("ledger_refuses_update", "ledger_refuses_delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        connection.execute(statement)
    connection.close()


@pytest.fixture
def lived(ledger, url):
    """r1 was live, r2 replaced it after a canary."""
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    approved_live(ledger, url, "r2")
    return ledger


def test_a_release_lives_through_its_states_and_the_route_follows(ledger, url):
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    assert ledger.route() == Route(live="r1")
    ledger.transition("r2", "canary", "flow", "first step", percent=5)
    assert ledger.route() == Route(live="r1", canary="r2", canary_percent=5.0, salt="r2")
    ledger.transition("r2", "canary", "flow", "next step", percent=25)
    ledger.transition("r2", "awaiting_approval", "flow", "judge says promote")
    assert ledger.route() == Route(live="r1", canary="r2", canary_percent=25.0, salt="r2")
    approvals = Approvals(url)
    approvals.request("r2", "may it?")
    approvals.approve("r2", "Ada", "looks right")
    entry = ledger.transition("r2", "live", "flow", "approved")
    assert ledger.route() == Route(live="r2")
    assert ledger.state("r1") is ReleaseState.RETIRED
    assert entry.evidence["approval"]["actor"] == "Ada"
    assert ledger.verify() == []


def test_going_live_needs_a_yes(ledger, url):
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    ledger.transition("r2", "canary", "flow", "try it", percent=5)
    ledger.transition("r2", "awaiting_approval", "flow", "judge says promote")
    with pytest.raises(TransitionError, match="not approved"):
        ledger.transition("r2", "live", "flow", "nobody was asked")
    Approvals(url).request("r2", "may it?")
    with pytest.raises(TransitionError, match="not approved"):
        ledger.transition("r2", "live", "flow", "nobody has answered")
    assert ledger.route().live == "r1"


def test_a_canary_that_is_rolled_back_loses_its_traffic_in_the_same_transaction(ledger, url):
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    ledger.transition("r2", "canary", "flow", "try it", percent=25)
    seen = []
    reader_done = threading.Event()

    def read_until_rolled_back():
        reader = Ledger(url)
        while not reader_done.is_set():
            route, entries = reader.route(), reader.entries()
            # The entries are read after the route: a rolled-back row must never be missing once the route has moved.
            seen.append((route.canary, entries[-1].state))
            if entries[-1].state is ReleaseState.ROLLED_BACK and route.canary is None:
                return

    reader = threading.Thread(target=read_until_rolled_back)
    reader.start()
    ledger.transition("r2", "rolled_back", "judge", "log loss is worse", {"users": 310})
    reader.join(timeout=20)
    reader_done.set()
    assert seen[-1] == (None, ReleaseState.ROLLED_BACK)
    assert all(state is ReleaseState.ROLLED_BACK for canary, state in seen if canary is None)


def test_rolling_back_the_live_release_brings_its_predecessor_back(lived):
    lived.transition("r2", "rolled_back", "on call", "timelines are empty")
    assert lived.route() == Route(live="r1")
    assert [(entry.release_id, entry.state.value) for entry in lived.entries()[-2:]] == [("r2", "rolled_back"), ("r1", "live")]
    assert lived.verify() == []


def test_a_live_release_is_not_rolled_back_into_nothing(lived):
    lived.remove_arm("r1")
    before = lived.entries()
    with pytest.raises(TransitionError, match="no earlier release has a running process"):
        lived.transition("r2", "rolled_back", "on call", "timelines are empty")
    assert lived.entries() == before
    assert lived.route().live == "r2"


def test_rolling_back_twice_is_one_rollback(lived):
    first = lived.transition("r2", "rolled_back", "judge", "worse")
    assert lived.transition("r2", "rolled_back", "on call", "worse, I think") == first
    assert lived.verify() == []


def test_a_rollback_answers_the_open_question(ledger, url):
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    ledger.transition("r2", "canary", "flow", "try it", percent=5)
    ledger.transition("r2", "awaiting_approval", "flow", "judge says promote")
    approvals = Approvals(url)
    approvals.request("r2", "may it?")
    ledger.transition("r2", "rolled_back", "Ada", "users complain")
    assert approvals.pending() == []
    assert (approvals.decision("r2").status, approvals.decision("r2").actor) == ("rejected", "Ada")


def test_one_canary_at_a_time(ledger):
    built(ledger, "r1", "r2", "r3")
    ledger.transition("r1", "live", "flow", "first release")
    ledger.transition("r2", "canary", "flow", "try it", percent=5)
    with pytest.raises(TransitionError, match="r2 is the canary"):
        ledger.transition("r3", "canary", "flow", "me too", percent=5)


def test_a_release_without_a_process_gets_no_traffic(ledger):
    ledger.create(manifest("r1"), "builder")
    with pytest.raises(TransitionError, match="has no running process"):
        ledger.transition("r1", "live", "flow", "first release")


def test_a_shadow_gets_copies_only(ledger):
    built(ledger, "r1", "r2")
    ledger.transition("r1", "live", "flow", "first release")
    ledger.transition("r2", "shadow", "flow", "copies first")
    assert ledger.route() == Route(live="r1", shadow="r2")
    ledger.transition("r2", "canary", "flow", "now for real", percent=5)
    assert ledger.route() == Route(live="r1", canary="r2", canary_percent=5.0, salt="r2")


def test_the_same_manifest_is_entered_once_and_another_under_its_name_never(ledger):
    first = ledger.create(manifest("r1"), "builder")
    assert ledger.create(manifest("r1"), "builder") == first
    with pytest.raises(TransitionError, match="other content"):
        ledger.create(manifest("r1", weight_preset="retention"), "builder")


def test_an_unknown_release_is_named(ledger):
    with pytest.raises(UnknownRelease, match="'r9' is not in the ledger"):
        ledger.transition("r9", "live", "flow", "why not")
    with pytest.raises(UnknownRelease):
        ledger.state("r9")


@pytest.mark.parametrize(("actor", "reason"), [("", "because"), ("  ", "because"), ("Ada", ""), ("Ada", " \n")])
def test_every_entry_names_who_and_why(ledger, actor, reason):
    with pytest.raises(ApprovalError, match="is empty"):
        ledger.create(manifest("r1"), actor, reason)


def test_evidence_that_is_not_json_is_refused_whole(lived):
    before = lived.entries()
    with pytest.raises(ValueError, match="not JSON"):
        lived.transition("r2", "rolled_back", "judge", "worse", {"log_loss": float("nan")})
    assert lived.entries() == before


# ---- tampering ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("statement", "noticed"),
    [
        ("UPDATE ledger SET actor = 'nobody' WHERE seq = 3", "entry 3 .* was changed"),
        ("UPDATE ledger SET reason = reason || '.' WHERE seq = 1", "entry 1 .* was changed"),
        ("UPDATE ledger SET percent = 1 WHERE state = 'canary'", "was changed"),
        (
            "UPDATE ledger SET evidence = '{\"approval\":{\"actor\":\"Eve\"}}' WHERE state = 'live' AND release_id = 'r2'",
            "changed",
        ),
        ("DELETE FROM ledger WHERE seq = 4", "entry 4 is missing"),
        ("DELETE FROM ledger WHERE seq = (SELECT max(seq) FROM ledger)", "cut off or added"),
        ("UPDATE route SET live = 'r1'", "moved past the ledger"),
        ("UPDATE route SET canary = 'r1', canary_percent = 99, salt = 'r1'", "moved past the ledger"),
        ("UPDATE releases SET manifest = replace(manifest, 'engagement', 'rage') WHERE release_id = 'r2'", "manifest of r2"),
        ("DELETE FROM route", "route pointer is missing"),
    ],
)
def test_the_chain_notices_tampering(lived, url, statement, noticed):
    assert lived.verify() == []
    tamper(url, statement)
    problems = lived.verify()
    assert problems
    assert any(re.search(noticed, problem) for problem in problems), problems


def test_a_resealed_entry_still_breaks_the_law(lived, url):
    """A forger who recomputes the hashes of the tail cannot make an unapproved canary live past the law of transitions."""
    from services.releases.chain import GENESIS, LedgerEntry, canonical, chain_problems, replayed_route, seal

    forged, previous = [], GENESIS
    for entry in lived.entries():
        state = ReleaseState.LIVE if entry.state is ReleaseState.AWAITING_APPROVAL else entry.state
        fields = (entry.seq, entry.at, entry.release_id, state, entry.percent, entry.actor, entry.reason)
        digest = seal(*fields, canonical(entry.evidence), previous)
        forged.append(LedgerEntry(*fields, previous, digest, entry.evidence))
        previous = digest
    assert chain_problems(forged) == []
    assert any("canary -> live is not allowed" in problem for problem in replayed_route(forged)[1])


@pytest.mark.parametrize("verb", ["UPDATE ledger SET actor = 'x'", "DELETE FROM ledger"])
def test_the_database_itself_refuses_to_change_the_ledger(lived, url, verb):
    with (
        sqlite3.connect(url.removeprefix("sqlite:///")) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(verb)
    connection.close()
    assert lived.verify() == []


def test_writers_at_once_lose_nothing_and_keep_the_chain_whole(ledger, url):
    names = [f"r{n}" for n in range(24)]
    failures = []

    def write(mine):
        own = Ledger(url)
        for name in mine:
            try:
                built(own, name)
            except (IntegrityError, TransitionError) as error:
                failures.append(error)

    threads = [threading.Thread(target=write, args=(names[part::4],)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert sorted(release.release_id for release in ledger.releases()) == sorted(names)
    assert [entry.seq for entry in ledger.entries()] == list(range(1, 25))
    assert ledger.verify() == []
