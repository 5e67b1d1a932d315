"""The run of flow `release` stays open in Prefect until its release has ended, and has no process meanwhile."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.exceptions import Abort, Pause
from prefect.states import Cancelling

from flows import release
from flows.steps import open_run
from flows.steps.rollout import Rollout
from infra.settings import Settings
from services.releases.plan import RolloutPlan
from tests.unit.releases.made_releases import built

RUN, OTHER = str(uuid4()), str(uuid4())


@pytest.fixture
def proposed(monkeypatch):
    """What is proposed to the server as the run's state, which accepts it."""
    states = []

    def accept(client, state, flow_run_id):
        states.append(state)
        return state

    monkeypatch.setattr(open_run, "get_client", lambda sync_client: nullcontext())
    monkeypatch.setattr(open_run, "propose_state_sync", accept)
    return states


def _run_of(monkeypatch, deployment_id) -> None:
    context = SimpleNamespace(flow_run=SimpleNamespace(id=uuid4(), deployment_id=deployment_id))
    monkeypatch.setattr(open_run, "FlowRunContext", SimpleNamespace(get=lambda: context))


@pytest.mark.parametrize(("deployment_id", "name"), [(uuid4(), "Suspended"), (None, "Paused")])
def test_a_run_stays_open_and_says_what_it_waits_for(monkeypatch, proposed, deployment_id, name):
    _run_of(monkeypatch, deployment_id)
    with pytest.raises(Pause):
        open_run.stay_open("it waits for Ada")
    assert [(state.name, state.message) for state in proposed] == [(name, "it waits for Ada")]
    assert proposed[0].state_details.pause_timeout is None  # its deadlines are the ledger's


def test_a_run_that_was_cancelled_meanwhile_does_not_end_as_completed(monkeypatch, proposed):
    _run_of(monkeypatch, uuid4())
    monkeypatch.setattr(open_run, "propose_state_sync", lambda *_, **__: Cancelling())
    with pytest.raises(Abort):
        open_run.stay_open("it waits for Ada")


def test_a_run_that_may_not_wait_ends(monkeypatch, proposed):
    def refuse(*_, **__):
        raise Abort("Cannot suspend subflows.")

    _run_of(monkeypatch, uuid4())
    monkeypatch.setattr(open_run, "propose_state_sync", refuse)
    open_run.stay_open("it waits for Ada")


@pytest.fixture
def rollout(tmp_path, monkeypatch) -> Rollout:
    """r1 is live, r2 is built; the flow's steps find what is there."""
    made = Rollout(Settings(home=tmp_path))
    built(made.ledger, "r1", "r2")
    made.ledger.transition("r1", "live", "flow", "first release")
    monkeypatch.setattr(release, "Rollout", lambda settings: made)
    monkeypatch.setattr(made, "plan", lambda **chosen: RolloutPlan())
    monkeypatch.setattr(release, "build", lambda model, note: "r2")
    monkeypatch.setattr(release, "start", lambda release_id: {"/for_you": {"posts": 10}})
    return made


def _flow(monkeypatch, run_id: str) -> list[str]:
    """Run the flow as `run_id`; returns what its run waits for."""
    waits: list[str] = []
    monkeypatch.setattr(release, "flow_run", SimpleNamespace(id=run_id))
    monkeypatch.setattr(release, "stay_open", waits.append)
    release.release_flow.fn()
    return waits


def test_the_run_waits_for_its_release_and_is_found_by_it(rollout, monkeypatch):
    (waits,) = _flow(monkeypatch, RUN)
    assert "release r2 waits for its canary (1, 5, 25, 50 % of users) and a person's approval" in waits
    assert rollout.runs.newest_of("r2") == RUN


def test_a_run_that_is_resumed_builds_nothing_and_waits_on(rollout, monkeypatch):
    _flow(monkeypatch, RUN)
    monkeypatch.setattr(release, "build", lambda model, note: pytest.fail("built again"))
    assert len(_flow(monkeypatch, RUN)) == 1
    rollout.ledger.transition("r2", "rolled_back", "Ada", "no")
    assert _flow(monkeypatch, RUN) == []


def test_a_second_run_leaves_the_release_to_the_first_and_ends(rollout, monkeypatch):
    _flow(monkeypatch, RUN)
    assert _flow(monkeypatch, OTHER) == []
    assert rollout.runs.newest_of("r2") == RUN


def test_a_run_takes_over_from_one_that_was_killed_before_it_submitted(rollout, monkeypatch):
    rollout.enter("r2", RUN)
    assert len(_flow(monkeypatch, OTHER)) == 1
    assert rollout.runs.newest_of("r2") == OTHER
