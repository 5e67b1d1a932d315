"""Whether there is a release to return to, and why not where there is none."""

from __future__ import annotations

import pytest

from services.releases.handover import why_no_return
from services.releases.ledger import Ledger
from tests.unit.releases.made_releases import approved_live, built


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    ledger = Ledger(f"sqlite:///{tmp_path / 'platform.db'}")
    built(ledger, "r1")
    ledger.transition("r1", "live", "flow", "first release")
    return ledger


def test_the_first_release_has_none_before_it(ledger):
    said = why_no_return("r1", ledger.standby(), ledger.releases(), None)
    assert said.startswith("r1 can't be rolled back: no other release was live before it")
    assert "`mixer run release`" in said


def test_a_release_with_one_before_it_can_return_while_that_answers(ledger, tmp_path):
    built(ledger, "r2")
    approved_live(ledger, f"sqlite:///{tmp_path / 'platform.db'}", "r2")
    assert why_no_return("r2", ledger.standby(), ledger.releases(), None) is None
    assert "r1 would take over, and it does not answer (refused)" in why_no_return(
        "r2", ledger.standby(), ledger.releases(), "refused"
    )
    ledger.remove_arm("r1")
    stopped = why_no_return("r2", ledger.standby(), ledger.releases(), None)
    assert "r1 was live before it, and its process does not run; `mixer run reconcile`" in stopped
