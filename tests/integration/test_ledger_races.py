"""Writers that come at once: the ledger lets one in after the other, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from services.releases.approvals import Approvals
from services.releases.ledger import Ledger
from services.releases.states import ReleaseState, TransitionError
from tests.local_postgres import local_postgres
from tests.unit.releases.made_releases import built, manifest

pytestmark = pytest.mark.slow

WRITERS = 6
ROUNDS = 8


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def url(request, tmp_path_factory) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'platform.db'}"
        return
    with local_postgres() as address:
        yield address


def _at_once(*calls: Callable[[], object]) -> list[object]:
    """What each call returned or raised, all begun at one moment."""
    barrier, results = threading.Barrier(len(calls)), [None] * len(calls)

    def one(place: int, call: Callable[[], object]) -> None:
        barrier.wait()
        try:
            results[place] = call()
        except TransitionError as error:
            results[place] = error

    threads = [threading.Thread(target=one, args=(place, call)) for place, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_several_canaries_begun_at_once_one_is_let_in(url: str) -> None:
    ledger = Ledger(url)
    built(ledger, "base")
    ledger.transition("base", "live", "flow", "first release")
    for turn in range(ROUNDS):
        names = [f"c{turn}-{writer}" for writer in range(WRITERS)]
        built(ledger, *names)
        results = _at_once(
            *(lambda name=name: Ledger(url).transition(name, "canary", "flow", "try it", percent=5) for name in names)
        )
        won = [name for name, result in zip(names, results, strict=True) if not isinstance(result, TransitionError)]
        assert len(won) == 1
        assert ledger.route().canary == won[0]
        ledger.transition(won[0], "rolled_back", "flow", "next round")
    assert ledger.verify() == []


def test_of_an_answer_and_a_rollback_at_once_the_ledger_keeps_a_lawful_one(url: str) -> None:
    ledger, approvals = Ledger(url), Approvals(url)
    for turn in range(ROUNDS):
        live, name = ledger.route().live, f"a{turn}"
        built(ledger, name)
        ledger.transition(name, "canary", "flow", "try it", percent=50)
        ledger.transition(name, "awaiting_approval", "flow", "no harm")
        approvals.request(name, "may it serve everybody?")
        approvals.approve(name, "Ada", "fine")
        _at_once(
            lambda name=name: Ledger(url).transition(name, "live", "flow", "approved"),
            lambda name=name: Ledger(url).transition(name, "rolled_back", "Bo", "no, stop it"),
        )
        # Whoever came first, the rollback is the last word: everybody is back where they were.
        assert ledger.state(name) is ReleaseState.ROLLED_BACK
        assert ledger.route().live == live
    assert ledger.verify() == []


def test_releases_entered_at_once_make_one_chain(url: str) -> None:
    names = [f"n{writer}" for writer in range(WRITERS)]
    _at_once(*(lambda name=name: Ledger(url).create(manifest(name), "builder") for name in names))
    ledger = Ledger(url)
    assert {release.release_id for release in ledger.releases()} >= set(names)
    assert ledger.verify() == []


def test_the_last_good_release_is_found_on_either_database(url: str) -> None:
    ledger = Ledger(url)
    before = ledger.route().live
    assert ledger.standby() is None
    name = "z1"
    built(ledger, name)
    ledger.transition(name, "canary", "flow", "try it", percent=50)
    ledger.transition(name, "awaiting_approval", "flow", "no harm")
    Approvals(url).request(name, "may it?")
    Approvals(url).approve(name, "Ada", "fine")
    ledger.transition(name, "live", "flow", "approved")
    assert ledger.standby() == before
    ledger.remove_arm(before)
    assert ledger.standby() is None
    with pytest.raises(TransitionError, match="no earlier release has a running process"):
        ledger.transition(name, "rolled_back", "Ada", "worse")
