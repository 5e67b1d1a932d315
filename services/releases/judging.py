"""The judge's looks at a canary: when one is due, what it is given, and what it said."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from feature_repo.ids import IdTable
from feature_repo.ids.own_actions import slots_by_name
from monitoring.canary.judge import JudgePolicy, Place, Verdict, judge
from monitoring.canary.looks import Looks
from monitoring.outcomes.evidence import Outcomes
from services.releases.chain import LedgerEntry
from services.releases.plan import RolloutPlan

ROLL_BACK_AFTER = 4  # times the users that a plan asks for before a step up, where those are few
BLIND_AFTER_S = 60.0  # without outcomes being taken in; the process does so every few seconds, even where there are none


@dataclass
class Judging:
    """One judge over the looks in the platform database at `url` and the outcomes in that at `outcomes_url`."""

    url: str
    outcomes_url: str
    policy: JudgePolicy
    _newest: tuple[tuple[int, bool], float, Verdict] | None = field(default=None, init=False)  # step and pause, when, and what
    _seen: tuple[str, int] | None = field(default=None, init=False)  # canary, and how much was known of it

    def __post_init__(self) -> None:
        self.looks, self.outcomes = Looks(self.url), Outcomes(self.outcomes_url)

    def look(
        self,
        release_id: str,
        plan: RolloutPlan,
        steps: Sequence[LedgerEntry],
        place: Place,
        now: float,
        *,
        paused: bool = False,
    ) -> Verdict:
        """The judge's word. Looks are `plan.look_every_s` apart; between two of them, the last one holds.

        steps: the canary's, oldest first. now: Unix seconds.
        """
        last = self._newest
        # A word that was said during a pause is none for the time after it.
        if last is not None and last[0] == (steps[-1].seq, paused) and 0 <= now - last[1] < plan.look_every_s:
            return last[2]
        known = (release_id, self.outcomes.changes(release_id))
        verdict = self._held_where_blind(self.judge_now(release_id, plan, steps, place), now)
        if known != self._seen or last is None or last[2].decision != verdict.decision:
            self.looks.add(release_id, int(now * 1e6), verdict.to_dict())
        self._seen, self._newest = known, ((steps[-1].seq, paused), now, verdict)
        return verdict

    def _held_where_blind(self, verdict: Verdict, now: float) -> Verdict:
        """No step up on evidence that nobody adds to any more: what went wrong since would not be in it."""
        taken_at = self.outcomes.taken_at()
        if verdict.decision != "promote" or (taken_at is not None and now - taken_at <= BLIND_AFTER_S):
            return verdict
        since = "never" if taken_at is None else f"{now - taken_at:,.0f} s ago"
        why = f"outcomes were taken in last {since}: see the log of process outcomes, and whether the broker answers"
        return replace(verdict, decision="inconclusive", reasons=[why])

    def judge_now(self, release_id: str, plan: RolloutPlan, steps: Sequence[LedgerEntry], place: Place) -> Verdict:
        """The judge's word on all evidence of the rollout so far."""
        evidence = self.outcomes.evidence(release_id, [(step.seq, (step.percent or 0.0) / 100) for step in steps])
        return judge(evidence, self.policy_of(plan), place)

    def policy_of(self, plan: RolloutPlan) -> JudgePolicy:
        """The platform's policy, with what the plan says otherwise."""
        changes: dict[str, object] = {"own_actions": dict(slots_by_name(IdTable(self.url)))}
        for name in ("min_users", "warm_up_s"):
            if (value := getattr(plan, name)) is not None:
                changes[name] = value
        if plan.min_users is not None:
            changes["min_users_to_roll_back"] = min(self.policy.min_users_to_roll_back, ROLL_BACK_AFTER * plan.min_users)
        if plan.deciding_heads:
            changes["heads"] = plan.deciding_heads
        return self.policy.model_copy(update=changes)


def place_of(*, last: bool, since: float, began: float, plan: RolloutPlan, now: float | None = None) -> Place:
    """Where a rollout stands. Unix seconds: since, from which the step's deadline counts; began, of the first step."""
    now = time.time() if now is None else now
    spent = max(now - since, 0.0)
    waits_s = plan.step_timeout_s if plan.wait_s is None else min(plan.wait_s, plan.step_timeout_s)
    return Place(last=last, step_s=spent, left_s=max(waits_s - spent, 0.0), age_s=max(now - began, 0.0))
