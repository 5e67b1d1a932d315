"""The judge's word now, on the outcomes that were kept of a rollout past or present. It changes nothing, and keeps no look."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from monitoring.canary.looks import Looks
from monitoring.canary.policy import JudgePolicy
from monitoring.canary.verdict import Verdict
from services.releases.chain import LedgerEntry
from services.releases.judging import Judging, place_of
from services.releases.ledger import Ledger
from services.releases.plan import RolloutPlan
from services.releases.rollouts import Rollouts, paused_s
from services.releases.states import ReleaseState

ON_TRIAL = (ReleaseState.CANARY, ReleaseState.AWAITING_APPROVAL)  # the judge looks while a release is in one of them


class NeverJudged(ValueError):
    """The release was never a canary, so there is nothing to judge it by."""


@dataclass(frozen=True)
class JudgedAgain:
    """A rollout: what became of it, what the judge said last while it went on, and what it says now."""

    release_id: str
    ended: LedgerEntry | None  # the entry that ended the trial; None while it goes on
    said: str | None  # the decision of the last look that was kept
    verdict: Verdict


class Retrospect:
    """The rollouts in the platform database at `url`, judged by `policy` on the outcomes in that at `outcomes_url`."""

    def __init__(self, url: str, outcomes_url: str, policy: JudgePolicy) -> None:
        self._judging = Judging(url, outcomes_url, policy)
        self._ledger, self._rollouts, self._looks = Ledger(url), Rollouts(url), Looks(url)

    def judge(self, release_id: str, now: float | None = None) -> JudgedAgain:
        """The judge's word on the whole rollout, as of its end where it has ended, else of `now` (Unix seconds).

        What the rollout's plan says otherwise than the policy, such as `min_users`, holds as it did then. Actions that came
        after the end count too. Raises NeverJudged, and UnknownRelease for a name that is not in the ledger.
        """
        entries = self._ledger.entries_of(release_id)
        steps = [entry for entry in entries if entry.state is ReleaseState.CANARY]
        if not steps:
            raise NeverJudged(f"release {release_id} is {entries[-1].state} and was no canary; there is nothing to judge it by")
        after = [entry for entry in entries if entry.seq > steps[-1].seq and entry.state not in ON_TRIAL]
        ended = after[0] if after else None
        moment = (time.time() if now is None else now) if ended is None else _seconds(ended)
        row = self._rollouts.find(release_id)
        plan = RolloutPlan() if row is None else row.plan
        since = _seconds(steps[-1]) + (0.0 if row is None else paused_s(row, _seconds(steps[-1]), moment))
        last, began = plan.after(steps[-1].percent or 0.0) is None, _seconds(steps[0])
        place = place_of(last=last, since=since, began=began, plan=plan, now=moment)
        look = self._looks.newest(release_id)
        verdict = self._judging.judge_now(release_id, plan, steps, place)
        return JudgedAgain(release_id, ended, None if look is None else look["decision"], verdict)

    def judge_all(self) -> list[JudgedAgain]:
        """Every release that was ever a canary, in the order of creation."""
        entries = self._ledger.entries()
        tried = dict.fromkeys(entry.release_id for entry in entries if entry.state is ReleaseState.CANARY)
        return [self.judge(release_id) for release_id in tried]


def _seconds(entry: LedgerEntry) -> float:
    return datetime.fromisoformat(entry.at).timestamp()
