"""Which flow run takes which release along."""

from __future__ import annotations

import pytest

from services.releases.ledger import Ledger
from services.releases.release_runs import ReleaseRun, ReleaseRuns
from tests.unit.releases.made_releases import built


@pytest.fixture
def runs(tmp_path):
    url = f"sqlite:///{tmp_path / 'platform.db'}"
    built(Ledger(url), "r1", "r2")
    return ReleaseRuns(url)


def test_a_run_that_entered_its_release_finds_it_again(runs):
    runs.enter("r2", "first", instead=False)
    assert runs.enter("r2", "first", instead=False) == ReleaseRun("first", "r2")
    assert (runs.release_of("first"), runs.release_of("unheard of")) == ("r2", None)
    assert runs.open() == [ReleaseRun("first", "r2")]


def test_a_release_stays_with_the_run_that_takes_it_along(runs):
    runs.enter("r2", "first", instead=False)
    assert runs.enter("r2", "second", instead=False).run_id == "first"
    assert runs.release_of("second") is None


def test_a_release_is_taken_over_from_a_run_that_was_killed_or_is_over(runs):
    runs.enter("r2", "killed", instead=False)
    assert runs.enter("r2", "second", instead=True).run_id == "second"
    assert runs.open() == [ReleaseRun("second", "r2")]
    runs.close("second")
    assert runs.enter("r2", "third", instead=False).run_id == "third"
    assert runs.newest_of("r2") == "third"


def test_a_run_that_is_tried_again_may_take_another_release_along(runs):
    runs.enter("r1", "run", instead=False)
    runs.close("run")
    runs.enter("r2", "run", instead=False)
    assert runs.open() == [ReleaseRun("run", "r2")]
