"""What the controller and Prefect tell each other: cancelled runs, ended releases, the ledger's newest hash.

None of it is needed to take a release along. What Prefect does not take now, it is told at the next look, so whatever was
missed while the server was away is made up for. No worker is needed: trainings that take every worker slot delay none of it.
"""

from __future__ import annotations

import re
import threading

import httpx
import structlog

from monitoring.canary.looks import Looks
from services.releases.chain import LedgerEntry
from services.releases.controller import ENDED, Controller
from services.releases.decisions import ON_ITS_WAY
from services.releases.prefect_api import FlowRunState, PrefectApi
from services.releases.published_heads import PublishedHeads
from services.releases.release_runs import ReleaseRun, ReleaseRuns
from services.releases.states import ReleaseState, TransitionError
from services.releases.way_page import way_page

ACTOR = "Prefect"
LOOK_EVERY_S = 2.0
FLOW = "release"  # Prefect's name of the flow whose runs take releases along
HEAD_KEY = "ledger-head"

log = structlog.get_logger("releases.prefect")


def artifact_key(release_id: str) -> str:
    """Prefect's keys are of lower-case letters, digits and dashes."""
    return "release-" + re.sub(r"[^a-z0-9]+", "-", release_id.lower()).strip("-")


class PrefectSide:
    """Prefect beside the controller of the platform whose database is at `url`."""

    def __init__(self, url: str, controller: Controller, heads: PublishedHeads, api: PrefectApi, gateway_url: str) -> None:
        """heads: of which the newest is published on the server too. gateway_url: where pages point people to."""
        self.controller, self.heads, self.api, self.gateway_url = controller, heads, api, gateway_url
        self.runs, self.looks = ReleaseRuns(url), Looks(url)
        self._published: str | None = None  # the head that the server took last
        self._away = False
        self._strays_ended = False
        self._names: dict[str, str] = {}  # by run id, that the server took

    def keep_looking(self, leaving: threading.Event) -> None:
        """Look until `leaving` is set. A look that fails is told, and tried again."""
        while not leaving.is_set():
            try:
                self.look()
            except Exception:  # as in the controller's own loop: a thread that ended would be missed by nobody
                log.exception("looking again")
            leaving.wait(LOOK_EVERY_S)

    def look(self) -> None:
        """One look at everything, where this controller is the one that acts."""
        if not self.controller.holding:
            return
        try:
            self._look_at_runs()
            self._end_strays()
            self._tell_ended()
            self._publish_head()
        except httpx.HTTPError as error:
            if not self._away:
                log.warning("Prefect's server does not answer; it is told later", error=str(error))
            self._away = True
            return
        if self._away:
            log.info("Prefect's server answers again")
        self._away = False

    # ---- runs -----------------------------------------------------------------------------------------------------
    def _look_at_runs(self) -> None:
        waiting = self.runs.open()
        if not waiting:
            return
        found = self.api.runs([one.run_id for one in waiting])
        for one in waiting:
            seen = found.get(one.run_id)
            if seen is None:  # it was deleted: that asks for nothing
                log.info("Prefect does not know the release's run any more", release=one.release_id, run=one.run_id)
                self.runs.close(one.run_id)
            else:
                self._look_at(one, seen)

    def _look_at(self, one: ReleaseRun, seen: FlowRunState) -> None:
        entry = self.controller.newest(one.release_id)
        if seen.cancelled and entry.state in ON_ITS_WAY:
            self._take_out(one, seen, entry)
            return  # the next look sees what became of it
        submitted = self.controller.rollouts.submitted(one.release_id)
        if seen.over:
            self.runs.close(one.run_id)
        elif seen.state == "CANCELLING" and submitted:
            # No worker ends what has no process.
            self.api.end_run(one.run_id, "CANCELLED", "Cancelled", f"release {one.release_id} is {entry.state}")
        elif entry.state in ENDED and submitted and (seen.state == "PAUSED" or (seen.state == "RUNNING" and not seen.deployed)):
            self._end(one, entry)
        elif seen.state == "PAUSED":
            self._rename(one.run_id, f"{one.release_id}: {_stands(entry)}")

    def _take_out(self, one: ReleaseRun, seen: FlowRunState, entry: LedgerEntry) -> None:
        reason = f"cancelled in Prefect: run {seen.name!r}" + (f", {seen.message}" if seen.message else "")
        evidence = {"decided_by": "a person", "flow_run": one.run_id}
        try:
            self.controller.ledger.transition(
                one.release_id, ReleaseState.ROLLED_BACK, ACTOR, reason, evidence, after=entry.seq
            )
        except TransitionError as error:
            log.info("not taken out", release=one.release_id, why=str(error))
            return
        log.info("taken out", release=one.release_id, why=reason)

    def _end(self, one: ReleaseRun, entry: LedgerEntry) -> None:
        """The run ends with its release. Rolled back is an answer, and no failure of the flow."""
        name = f"{one.release_id}: {_stands(entry)}"
        self._rename(one.run_id, name)
        message = f"{name}, by {entry.actor}: {entry.reason}"
        if self.api.end_run(one.run_id, "COMPLETED", _stands(entry).capitalize(), message):
            self.runs.close(one.run_id)

    def _end_strays(self) -> None:
        """Once a process: cancel what waits for a release that no ledger knows any more, as after a tour began anew."""
        if self._strays_ended:
            return
        for run_id in self.api.paused_runs(FLOW):
            if self.runs.release_of(run_id) is None:
                self.api.end_run(run_id, "CANCELLED", "Cancelled", "the ledger does not know this run's release any more")
        self._strays_ended = True

    def _rename(self, run_id: str, name: str) -> None:
        if self._names.get(run_id) != name:
            self.api.rename(run_id, name)
            self._names[run_id] = name

    # ---- ends and heads -------------------------------------------------------------------------------------------
    def _tell_ended(self) -> None:
        """Of every end that Prefect was not told of: the event that starts `release_ended`, and the release's way."""
        for entry in self.controller.ended():
            release_id = entry.release_id
            page = way_page(self.controller.ledger.entries_of(release_id), self.looks.newest(release_id), self.gateway_url)
            described, run_id = f"The way of release {release_id}", self.runs.newest_of(release_id)
            try:
                self.api.publish(artifact_key(release_id), page, described, run_id)
            except httpx.HTTPStatusError as error:  # refused for what it is: that must not keep the end from being told
                log.error("Prefect refused the release's artifact", release=release_id, error=str(error))
            self.api.tell_end(release_id, str(entry.state))
            self.controller.rollouts.mark_told(release_id, entry.seq)

    def _publish_head(self) -> None:
        """The newest hash that is in the file, as an artifact: a copy that is not beside the ledger's database."""
        head = self.heads.newest()
        if head is None:
            return
        described = f"entry {head[0]}: {head[1]}"
        if self._published is None:
            self._published = self.api.published(HEAD_KEY)
        if described != self._published:
            page = f"# The ledger's head\n\n| entry | hash |\n|---|---|\n| {head[0]} | `{head[1]}` |"
            self.api.publish(HEAD_KEY, page, described)
            self._published = described


def _stands(entry: LedgerEntry) -> str:
    """Where the release stands, in words."""
    return str(entry.state).replace("_", " ") + ("" if entry.percent is None else f" {entry.percent:g} %")
