"""The controller beside Prefect: cancelled runs, ends and heads, whether its server answers or not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from time import time
from typing import Any

import httpx
import pytest

from services.releases.prefect_api import FINAL, FlowRunState
from services.releases.prefect_side import HEAD_KEY, PrefectSide
from services.releases.published_heads import PublishedHeads
from tests.unit.releases.controlled import Controlled, controlled

RUN = "11111111-0000-0000-0000-000000000000"


@dataclass
class Server:
    """A server of Prefect that keeps what it is told; `away`: it does not answer."""

    known: dict[str, FlowRunState] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    artifacts: list[tuple[str, str, str | None]] = field(default_factory=list)  # key, markdown, run
    descriptions: dict[str, str] = field(default_factory=dict)
    away: bool = False

    def _answer(self) -> None:
        if self.away:
            raise httpx.ConnectError("refused")

    def runs(self, run_ids: list[str]) -> dict[str, FlowRunState]:
        self._answer()
        return {run_id: self.known[run_id] for run_id in run_ids if run_id in self.known}

    def paused_runs(self, flow: str) -> list[str]:
        self._answer()
        return [run_id for run_id, run in self.known.items() if run.state == "PAUSED"]

    def rename(self, run_id: str, name: str) -> None:
        self._answer()
        self.known[run_id] = replace(self.known[run_id], name=name)

    def end_run(self, run_id: str, state: str, name: str, message: str) -> bool:
        self._answer()
        assert state in FINAL
        self.known[run_id] = replace(self.known[run_id], state=state, message=message)
        return True

    def tell_end(self, release_id: str, state: str) -> None:
        self._answer()
        self.told.append((release_id, state))

    def publish(self, key: str, markdown: str, description: str, run_id: str | None = None) -> None:
        self._answer()
        self.artifacts.append((key, markdown, run_id))
        self.descriptions[key] = description

    def published(self, key: str) -> str | None:
        self._answer()
        return self.descriptions.get(key)

    def change(self, **changes: Any) -> None:
        self.known[RUN] = replace(self.known[RUN], **changes)

    def pages(self, key: str) -> list[str]:
        return [page for known, page, _ in self.artifacts if known == key]


@pytest.fixture
def made(tmp_path, monkeypatch) -> tuple[Controlled, Server, PrefectSide]:
    """r2 is submitted, and a run that waits in Prefect takes it along."""
    release = controlled(tmp_path, monkeypatch, time())
    server = Server({RUN: FlowRunState(RUN, "merry-cat", "PAUSED", None, deployed=True)})
    return release, server, another_process(release, server, tmp_path)


def another_process(release: Controlled, server: Server, folder) -> PrefectSide:
    side = PrefectSide(release.url, release.controller, PublishedHeads(folder), server, "http://door")  # type: ignore[arg-type]
    side.runs.enter("r2", RUN, instead=False)
    return side


def canary(release: Controlled) -> None:
    release.look()
    assert release.controller.ledger.route().canary == "r2"


def test_a_cancelled_run_takes_its_canary_out(made):
    release, server, side = made
    canary(release)
    side.look()
    assert release.controller.ledger.route().canary == "r2"
    server.change(state="CANCELLED", name="merry-cat", message="by Ada")
    side.look()
    entry = release.controller.newest("r2")
    assert (entry.state, entry.actor) == ("rolled_back", "Prefect")
    assert entry.reason == "cancelled in Prefect: run 'merry-cat', by Ada"
    assert release.controller.ledger.route().canary is None


def test_a_run_that_was_cancelled_while_the_release_waits_for_its_turn_takes_it_out(made):
    release, server, side = made
    release.controller.lease.hold(release.clock)
    release.controller.holding = True
    server.change(state="CANCELLING")
    side.look()
    assert release.controller.newest("r2").state == "rolled_back"
    side.look()
    assert server.known[RUN].state == "CANCELLED"  # no worker does it: there is no process
    side.look()
    assert side.runs.open() == []


def test_a_canary_goes_on_while_prefect_is_away_and_its_run_catches_up(made):
    release, server, side = made
    server.away = True
    canary(release)
    side.look()
    release.controller.ledger.transition("r2", "rolled_back", "Ada", "it looks wrong")
    release.look()
    side.look()
    assert server.told == []
    server.away = False
    side.look()
    assert server.told == [("r2", "rolled_back")]
    assert (server.known[RUN].state, server.known[RUN].name) == ("COMPLETED", "r2: rolled back")
    assert server.known[RUN].message == "r2: rolled back, by Ada: it looks wrong"
    assert side.runs.open() == []
    (key, page, run_id) = next(one for one in server.artifacts if one[0] == "release-r2")
    assert "it looks wrong" in page
    assert run_id == RUN
    side.look()
    assert len(server.told) == 1


def test_a_run_s_name_follows_its_release(made):
    release, server, side = made
    canary(release)
    side.look()
    assert server.known[RUN].name == "r2: canary 25 %"


def test_a_run_that_somebody_deleted_takes_nothing_out(made):
    release, server, side = made
    canary(release)
    server.known.clear()
    side.look()
    assert release.controller.ledger.route().canary == "r2"
    assert side.runs.open() == []


def test_a_run_that_was_resumed_is_left_to_its_own_process(made):
    release, server, side = made
    canary(release)
    release.controller.ledger.transition("r2", "rolled_back", "Ada", "no")
    server.change(state="RUNNING")
    side.look()
    assert server.known[RUN].state == "RUNNING"
    assert side.runs.open() != []


def test_a_live_release_stays_when_its_run_is_cancelled_too_late(made):
    release, server, side = made
    canary(release)
    ledger, approvals = release.controller.ledger, release.controller.approvals
    ledger.transition("r2", "awaiting_approval", "controller", "yes")
    approvals.request("r2", "may it?")
    approvals.approve("r2", "Ada", "fine")
    ledger.transition("r2", "live", "Ada", "fine")
    server.change(state="CANCELLED")
    side.look()
    assert ledger.route().live == "r2"
    assert side.runs.open() == []


def test_the_newest_hash_is_published_once_also_after_a_restart(made, tmp_path):
    release, server, side = made
    canary(release)
    side.look()
    assert server.pages(HEAD_KEY) == []  # not before it is in the file
    newest = release.controller.ledger.entries()[-1]
    side.heads.publish(newest)
    side.look()
    side.look()
    again = another_process(release, server, tmp_path)
    again.heads.publish(newest)
    again.look()
    assert len(server.pages(HEAD_KEY)) == 1
    assert newest.hash in server.pages(HEAD_KEY)[0]


def test_a_head_that_prefect_missed_is_published_when_it_is_back(made):
    release, server, side = made
    canary(release)
    side.heads.publish(release.controller.ledger.entries()[-1])
    server.away = True
    side.look()
    server.away = False
    side.look()
    assert len(server.pages(HEAD_KEY)) == 1


def test_a_controller_that_does_not_act_tells_nothing(made):
    release, server, side = made
    canary(release)
    release.controller.holding = False
    server.change(state="CANCELLED")
    side.look()
    assert release.controller.ledger.route().canary == "r2"


def test_a_run_that_waits_for_a_release_that_is_forgotten_is_cancelled(made):
    release, server, side = made
    stray = RUN.replace("1", "2")
    server.known[stray] = replace(server.known[RUN], run_id=stray)
    canary(release)
    side.look()
    assert server.known[stray].state == "CANCELLED"
    assert server.known[RUN].state == "PAUSED"
    assert release.controller.ledger.route().canary == "r2"
