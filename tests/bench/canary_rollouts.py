"""One simulated rollout under our judge: the code that decides is the platform's own, on all looks of a step at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from monitoring.canary.decisions import ROLL_BACK, UNDECIDED, Clock, Finding, answer, find, mismatched
from monitoring.canary.metric_sources import SOURCES, loss_ratio
from monitoring.canary.moments import COLUMNS, StepMoments
from monitoring.canary.policy import JudgePolicy
from monitoring.canary.pooling import Carried, carry, influences, pool
from monitoring.canary.quantiles import latency_step
from monitoring.canary.step_estimates import StepEstimate, ratio_step
from tests.bench.canary_looks import RATIOS, Looks
from tests.bench.canary_streams import BLOCKS_H, LOOK_S, People, Scenario

STEP_S = 3_600 * sum(BLOCKS_H)  # a step is given up after that
HEAD = "log_loss"


@dataclass(frozen=True)
class End:
    """How a rollout ended: "asked" (put to people as good), "rolled back" or "given up"."""

    how: str
    step: int
    hours: float  # since the first step
    users: float  # of the canary at the end of the last step it reached
    by: tuple[str, ...] = ()  # metrics that rolled it back, or held it to the end
    detectable: float = float("nan")  # smallest engagement loss that would have shown, relative


@dataclass
class Streams:
    """The steps of one rollout, drawn once for all judges that look at it."""

    people: People
    scenario: Scenario

    def __post_init__(self) -> None:
        self._drawn: dict[tuple[int, int], Looks] = {}

    def looks(self, step: int, blocks: int) -> Looks:
        """A step's first `blocks` blocks."""
        if (step, blocks) not in self._drawn:
            visits = self.people.visits(step, blocks, self.scenario)
            looks = sum(BLOCKS_H[:blocks]) * 3_600 // LOOK_S
            self._drawn[step, blocks] = Looks(self.people, step, visits, looks, self.people.arms(step))
        return self._drawn[step, blocks]


class OurJudge:
    """The platform's judge over the looks of one rollout."""

    def __init__(self, people: People, policy: JudgePolicy) -> None:
        self.people, self.policy = people, policy
        bands = people.bands.shape[1]
        self.carried = dict.fromkeys(RATIOS, Carried())
        self.influence = {metric: np.zeros((people.users, bands)) for metric in RATIOS}
        self.products, self.posts = np.zeros((COLUMNS, COLUMNS)), 0.0
        self.paired = np.zeros((2, people.users))
        self.most_users, self.alarmed = np.zeros(2), False

    def run(self, streams: Streams) -> End:
        """Take the rollout along to its end."""
        hours, steps = 0.0, len(self.people.shares)
        for step in range(steps):
            last = step == steps - 1
            for blocks in range(1, len(BLOCKS_H) + 1):
                looks = streams.looks(step, blocks)
                codes, findings, freeze = self.answers(looks, last)
                decided = np.flatnonzero(codes != UNDECIDED)
                if len(decided):
                    break
            at = int(decided[0]) if len(decided) else looks.looks - 1
            hours += float(looks.step_s[at]) / 3_600
            code = int(codes[at])
            if last or code in (UNDECIDED, ROLL_BACK):
                return self._end(code, step, hours, at, findings)
            freeze(at)
        raise AssertionError("a ramp has a last step")

    def answers(self, looks: Looks, last: bool) -> tuple[np.ndarray, list[Finding], Callable[[int], None]]:
        """The answer at each look of a step, what each metric says, and what to call with the look at which the step ends."""
        clock = Clock(last, looks.step_s, STEP_S - looks.step_s)
        moments = {m: looks.moments(m, self.influence[m] if looks.step else None) for m in RATIOS}
        times, estimates, findings = looks.times(), {}, []
        products, posts = looks.losses(self.paired)
        for metric in self.policy.metrics:
            if metric.name == HEAD:
                pooled = loss_ratio(self.products + products, self.posts + posts)
            elif metric.name in RATIOS:
                estimates[metric.name] = one = self.estimate(metric.name, moments[metric.name], times, metric.scale)
                pooled = pool(one, moments[metric.name], self.carried[metric.name])
            else:
                continue  # signals never decide a rollout, and are not simulated
            findings.append(find(metric, pooled, self.policy, clock))
        in_step = moments["failed"].users
        users = np.maximum(in_step, self.most_users)
        alarm = mismatched(in_step, self.people.shares[looks.step], looks.step, self.policy)[1] | self.alarmed
        codes = answer(findings, users, in_step, alarm, self.policy, clock)

        def freeze(at: int) -> None:
            self._freeze(looks, at, {m: _at(one, at) for m, one in estimates.items()})
            self.products, self.posts = self.products + products[at], self.posts + float(posts[at])
            self.most_users, self.alarmed = users[at], bool(alarm[at])

        return codes, findings, freeze

    @staticmethod
    def estimate(metric: str, moments: StepMoments, times: np.ndarray, scale: str) -> StepEstimate:
        """A metric of RATIOS in one step, at each look (...,)."""
        if metric == "latency_p95":
            return latency_step(moments, times)
        return ratio_step(moments, SOURCES[metric].kind, relative=scale != "absolute")

    def _freeze(self, looks: Looks, at: int, estimates: dict[str, StepEstimate]) -> None:
        """Keep what the step leaves to the next: each copy's influence, and the sums."""
        for metric, one in estimates.items():
            for arm in range(2):
                bands = slice(looks.step + 1, None) if arm == 0 else slice(looks.step + 1)
                columns = looks.columns(metric, arm, at)
                effect = influences(one, columns, np.full(len(columns), arm))
                self.influence[metric][:, bands] += effect[:, None]
            square = float((self.people.bands * self.influence[metric] ** 2).sum())
            self.carried[metric] = carry(one, self.carried[metric], square)
        self.paired = self.paired + looks.paired_sums(at)

    def _end(self, code: int, step: int, hours: float, at: int, findings: list[Finding]) -> End:
        how = {UNDECIDED: "given up", ROLL_BACK: "rolled back"}.get(code, "asked")
        by = [f.name for f in findings if how != "asked" and (f.rolls_back if code == ROLL_BACK else f.holds)[at]]
        engagement = next(f for f in findings if f.name == "engagement")
        return End(
            how, step, hours, float(engagement.estimate.treatment_users[at]), tuple(by), float(engagement.detectable[at])
        )


def _at(estimate: StepEstimate, look: int) -> StepEstimate:
    """An estimate at one look."""
    names = ("control", "treatment", "difference", "slopes", "floor", "weight", "users")
    return replace(estimate, **{name: getattr(estimate, name)[look] for name in names})
