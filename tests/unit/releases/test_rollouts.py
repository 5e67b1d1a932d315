"""People who pause and resume a rollout at once: one after the other, and none overwrites what the other did."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from services.releases import rollouts as module
from services.releases.ledger import Ledger
from services.releases.plan import RolloutPlan
from services.releases.rollouts import NotSubmitted, Rollouts
from tests.unit.releases.made_releases import built


@pytest.fixture
def rollouts(tmp_path) -> Rollouts:
    url = f"sqlite:///{tmp_path / 'platform.db'}"
    built(Ledger(url), "r1", "r2")
    made = Rollouts(url)
    made.submit("r2", RolloutPlan(), "flow")
    return made


def meanwhile(monkeypatch, during: str, *calls: Callable[[], object]) -> threading.Thread:
    """Another person's `calls`, which begin as soon as `during` (a name in the module) is first used."""
    original = getattr(module, during)
    other = threading.Thread(target=lambda: [call() for call in calls])

    def interrupted(*given: object) -> object:
        if other.ident is None:
            other.start()
            other.join(0.2)  # ended by then, unless it waits for its turn
        return original(*given)

    monkeypatch.setattr(module, during, interrupted)
    return other


def test_two_who_pause_at_once_make_one_pause(rollouts, monkeypatch):
    seen = []
    other = meanwhile(monkeypatch, "_now", lambda: seen.append(rollouts.pause("r2", "Bo", "a bug")))
    seen.append(rollouts.pause("r2", "Ada", "hold"))
    other.join()
    assert {(row.paused_by, row.paused_at) for row in seen} == {("Ada", rollouts.of("r2").paused_at)}


def test_two_who_resume_at_once_end_one_pause_and_a_later_one_stands(rollouts, monkeypatch):
    rollouts.pause("r2", "Ada", "hold")
    again = (lambda: rollouts.resume("r2", "Bo", "fine"), lambda: rollouts.pause("r2", "Bo", "no: another bug"))
    other = meanwhile(monkeypatch, "asdict", *again)
    rollouts.resume("r2", "Ada", "it was none")
    other.join()
    row = rollouts.of("r2")
    assert [(one.by, one.resumed_by) for one in row.pauses] == [("Ada", "Ada")]
    assert row.pause_reason == "no: another bug"


def test_a_release_that_nobody_submitted_has_no_rollout(rollouts):
    assert rollouts.find("r1") is None
    with pytest.raises(NotSubmitted):
        rollouts.pause("r1", "Ada", "hold")
