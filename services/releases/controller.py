"""Takes submitted releases along: one look, one thing done, all of it in the ledger.

Nothing is kept in the process. A controller may be killed at any moment, and the next one goes on from what is stored: the
state, since when it holds, the plan, and people's answers. A lease lets one act at a time; and where a slow one wakes up late,
the ledger refuses what rests on an entry that is no longer the newest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError

from monitoring.canary.looks import Looks
from monitoring.canary.verdict import Verdict
from services.releases.approvals import Approvals
from services.releases.chain import LedgerEntry
from services.releases.handover import why_not
from services.releases.judging import Judging, place_of
from services.releases.lease import Lease
from services.releases.ledger import Ledger
from services.releases.plan import RolloutPlan
from services.releases.rollouts import NotSubmitted, RolloutRow, Rollouts, paused_s
from services.releases.states import ReleaseState, TransitionError

ACTOR = "controller"
JUDGE = "judge"
NO_HARM = "the judge found no harm"
QUESTION = "the canary did no measurable harm; may it serve everybody?"
LEASE_S = 5.0
ENDED = (ReleaseState.LIVE, ReleaseState.RETIRED, ReleaseState.ROLLED_BACK)
TOLD = (ReleaseState.LIVE, ReleaseState.ROLLED_BACK)

log = structlog.get_logger("releases.controller")


def question_of(actor: str, verdict: dict[str, Any]) -> str:
    """What is asked of people: whether the judge found no harm, or a person went on without its yes."""
    if actor == ACTOR:
        return QUESTION
    said = f"the judge's last word was {verdict['decision']}" if verdict.get("decision") else "the judge has not looked yet"
    return f"{actor} moved it on without the judge's yes ({said}); may it serve everybody?"


class Controller:
    """Looks at the rollouts of the platform whose database is at `url`."""

    def __init__(
        self,
        url: str,
        holder: str,
        judging: Judging | None = None,
        dies_again: Callable[[str], str | None] = lambda release: None,
    ) -> None:
        """judging: by which canaries are judged; without it, a person's `promote` is all that can be done.

        dies_again: what is said of a release whose process is in a crash loop; None of any other.
        """
        self.ledger, self.approvals, self.rollouts = Ledger(url), Approvals(url), Rollouts(url)
        self.looks, self.judging = Looks(url), judging
        self.lease = Lease(url, "release controller", holder, LEASE_S)
        self.dies_again = dies_again
        self.holding = False  # whether this controller is the one that acts

    def look(self, now: float | None = None) -> str | None:
        """Do the one next thing; returns it in words, None where there is nothing to do or another controller acts.

        now: Unix seconds.
        """
        now = time.time() if now is None else now
        self.holding = self.lease.hold(now)
        if not self.holding or self.judging is None:
            return None
        try:
            return self._next(now)
        except TransitionError as error:
            # Somebody else moved the release between our look and our move; the next look sees it.
            log.info("not moved", why=str(error))
            return None

    def _next(self, now: float) -> str | None:
        canary = self.ledger.route().canary
        if canary is not None:
            return self._take_along(canary, self.judging, now)
        for row in self.rollouts.all():
            entry = self.newest(row.release_id)
            if entry.state is ReleaseState.BUILT and (done := self._begin(row, entry, now)) is not None:
                return done  # of one that can't begin yet, the next is tried
        return None

    # ---- one release ----------------------------------------------------------------------------------------------
    def _begin(self, row: RolloutRow, entry: LedgerEntry, now: float) -> str | None:
        """The first step, once the release's process answers as that release; given up where that takes too long."""
        release_id, plan = row.release_id, row.plan
        if row.paused or self.ledger.route().live is None:
            return None
        problem = self._problem(release_id)
        if problem is None:
            return self._step(release_id, plan.after(0.0) or plan.ramp[0], None, entry)
        if (dying := self.dies_again(release_id)) is not None:
            return self._roll_back(entry, f"its process dies again and again: {dying}", None, ACTOR)
        if now - self._since(entry, row, now) > plan.step_timeout_s:
            return self._roll_back(entry, f"its process did not come up in time: {problem}", None, ACTOR)
        log.info("waits for the release's process", release=release_id, why=problem)
        return None

    def _problem(self, release_id: str) -> str | None:
        """Why the release's process could not take more traffic now; None where it could."""
        url = self.ledger.arms().get(release_id)
        return "no process is registered for it" if url is None else why_not(url, release_id)

    def _is_well(self, release_id: str) -> bool:
        problem = self._problem(release_id)
        if problem is not None:
            log.info("no more traffic before its process is well", release=release_id, why=problem)
        return problem is None

    def _take_along(self, release_id: str, judging: Judging, now: float) -> str | None:
        row, entry = self._row(release_id), self.newest(release_id)
        if (dying := self.dies_again(release_id)) is not None:
            return self._roll_back(entry, f"its process dies again and again: {dying}", None, ACTOR)
        steps = self.steps(release_id)
        place = place_of(
            last=row.plan.after(steps[-1].percent or 0.0) is None,
            since=self._since(steps[-1], row, now),
            began=datetime.fromisoformat(steps[0].at).timestamp(),
            plan=row.plan,
            now=now,
        )
        try:
            verdict = judging.look(release_id, row.plan, steps, place, now, paused=row.paused)
        except DBAPIError as error:  # deadlines and people's answers do not wait for the outcomes' database
            log.error("the outcomes can't be read", error=str(error))
            verdict = Verdict("inconclusive", [], [f"the outcomes can't be read: {type(error).__name__}"])
        if verdict.decision == "rollback":
            return self._roll_back(entry, "; ".join(verdict.reasons), verdict, JUDGE)
        if row.paused:
            return None
        if entry.state is ReleaseState.AWAITING_APPROVAL:
            return self._answer(entry, row, now)
        if verdict.decision == "promote" and self._is_well(release_id):
            return self._go_up(row.plan, verdict.to_dict(), entry, ACTOR, NO_HARM)
        if now - self._since(entry, row, now) > row.plan.step_timeout_s:
            return self._roll_back(entry, "no verdict in time: " + "; ".join(verdict.reasons), verdict, ACTOR)
        return None

    def promote(self, release_id: str, actor: str, reason: str) -> str:
        """A person's step up without the judge's yes: to the next step, or from the last to the question for approval."""
        row, entry = self._row(release_id), self.newest(release_id)
        if entry.state is not ReleaseState.CANARY:
            raise TransitionError(f"release {release_id} is {entry.state}; only a canary can be promoted to its next step")
        if row.paused:
            raise TransitionError(f"release {release_id} is paused by {row.paused_by}; resume it before you promote it")
        if (problem := self._problem(release_id)) is not None:
            raise TransitionError(f"release {release_id} can't be promoted: {problem}")
        return self._go_up(row.plan, self.looks.newest(release_id) or {}, entry, actor, reason)

    def _go_up(self, plan: RolloutPlan, verdict: dict[str, Any], entry: LedgerEntry, actor: str, reason: str) -> str:
        """verdict: the judge's last word, as it is kept; empty where it has not looked yet."""
        release_id, percent = entry.release_id, plan.after(entry.percent or 0.0)
        if percent is not None:
            return self._step(release_id, percent, verdict, entry, actor, reason)
        self.ledger.transition(release_id, ReleaseState.AWAITING_APPROVAL, actor, reason, evidence=verdict, after=entry.seq)
        self.approvals.request(release_id, question_of(actor, verdict), verdict, requested_by=actor)
        return f"{release_id} awaits a person's approval"

    def _step(
        self,
        release_id: str,
        percent: float,
        verdict: dict[str, Any] | None,
        entry: LedgerEntry,
        actor: str = ACTOR,
        why: str = "",
    ) -> str:
        """Widen the canary. Everybody who was in it stays, so the evidence of all steps adds up."""
        evidence = {"verdict": verdict or None}
        reason = f"{percent:g} % of users" + (f": {why}" if why else "")
        self.ledger.transition(
            release_id, ReleaseState.CANARY, actor, reason, evidence=evidence, percent=percent, after=entry.seq
        )
        return f"canary {release_id} at {percent:g} %"

    def _answer(self, entry: LedgerEntry, row: RolloutRow, now: float) -> str | None:
        decision = self.approvals.decision(entry.release_id)
        if decision is None:
            if not self.approvals.pending_for(entry.release_id):  # killed between the move and the question
                question = question_of(entry.actor, entry.evidence)
                self.approvals.request(entry.release_id, question, entry.evidence, requested_by=ACTOR)
            if now - self._since(entry, row, now) > row.plan.approval_timeout_s:
                return self._roll_back(entry, f"no answer within {row.plan.approval_timeout_s:,.0f} s", None, ACTOR)
            return None
        if decision.status == "approved" and not self._is_well(entry.release_id):
            decided = datetime.fromisoformat(decision.decided_at or entry.at).timestamp()
            if now - decided <= row.plan.approval_timeout_s:
                return None
            waited = f"{row.plan.approval_timeout_s:,.0f} s after its approval it could not go live"
            return self._roll_back(entry, f"{waited}: {self._problem(entry.release_id)}", None, ACTOR)
        state = ReleaseState.LIVE if decision.status == "approved" else ReleaseState.ROLLED_BACK
        self.ledger.transition(
            entry.release_id, state, decision.actor or ACTOR, decision.reason or decision.status, after=entry.seq
        )
        return f"{entry.release_id} is {state}"

    def _roll_back(self, entry: LedgerEntry, reason: str, verdict: Verdict | None, actor: str) -> str:
        """Out of the route in one transaction; the process goes later, when its last requests have ended."""
        evidence = None if verdict is None else verdict.to_dict()
        self.ledger.transition(entry.release_id, ReleaseState.ROLLED_BACK, actor, reason, evidence=evidence, after=entry.seq)
        return f"{entry.release_id} rolled back: {reason}"

    def steps(self, release_id: str) -> list[LedgerEntry]:
        """The canary's steps, oldest first."""
        return [entry for entry in self.ledger.entries_of(release_id) if entry.state is ReleaseState.CANARY]

    # ---- what is stored -------------------------------------------------------------------------------------------
    def _row(self, release_id: str) -> RolloutRow:
        try:
            return self.rollouts.of(release_id)
        except NotSubmitted:  # begun by hand, or by an earlier version of the platform
            return self.rollouts.submit(release_id, RolloutPlan(), ACTOR)

    def newest(self, release_id: str) -> LedgerEntry:
        """The release's newest entry. Raises UnknownRelease where there is none."""
        return self.ledger.entries_of(release_id)[-1]

    @staticmethod
    def _since(entry: LedgerEntry, row: RolloutRow, now: float) -> float:
        """Unix seconds from which the deadline of the entry's state counts; the pauses since it was entered put it off."""
        entered = datetime.fromisoformat(entry.at).timestamp()
        return entered + paused_s(row, entered, now)

    def ended(self) -> list[LedgerEntry]:
        """The ends of submitted releases of which the flows were not told yet; none where another controller acts."""
        if not self.holding:
            return []
        newest = [(self.newest(row.release_id), row.told_seq) for row in self.rollouts.all()]
        # That a release was retired is told by its successor's going live.
        return [entry for entry, told in newest if entry.state in TOLD and entry.seq != told]
