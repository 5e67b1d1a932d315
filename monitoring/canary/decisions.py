"""From estimates to an answer. Arrays broadcast over looks (...,): one look in production, a rollout's looks in the bench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from monitoring.canary.intervals import one_sided_width, ratio_mismatch_p, two_scale_width
from monitoring.canary.policy import JudgePolicy, MetricPolicy
from monitoring.canary.pooling import Pooled

DOUBTFUL_Z = (
    1.64  # standard errors from alike at which an estimate beyond the margin is no mere noise (nominal 95 %, one-sided)
)
UNDECIDED, STEP_UP, ROLL_BACK = 0, 1, 2


@dataclass(frozen=True)
class Clock:
    """Where in its step a look is. Times are (...,) or numbers, in seconds."""

    last: bool
    step_s: np.ndarray | float
    left_s: np.ndarray | float
    age_s: np.ndarray | float = np.inf  # of the rollout


@dataclass(frozen=True)
class Finding:
    """What one metric says at each look: arrays (...,). Values are in the scale computed with (a ratio's logarithm)."""

    name: str
    label: str
    metric: MetricPolicy
    estimate: Pooled
    low: np.ndarray
    high: np.ndarray
    has_data: np.ndarray
    worse: np.ndarray
    no_worse: np.ndarray
    better: np.ndarray
    detectable: np.ndarray  # smallest worsening told from none with the policy's power
    detectable_last: np.ndarray  # the same at the end of the step
    powered: np.ndarray
    settled: np.ndarray  # the rollout is old enough for this metric to roll back
    # Reasons not to step up.
    doubtful: np.ndarray  # estimated beyond the margin, and not by mere noise
    unproven: np.ndarray  # has the power to decide and is not shown to be no worse yet
    unseen: np.ndarray  # would not see yet what may not go unseen
    missing: str = ""  # why the arms' values are unknown

    @property
    def holds(self) -> np.ndarray:
        """Whether the metric stands against a step up."""
        nothing = np.zeros_like(self.has_data)
        if self.metric.dry_run:
            return nothing
        if self.metric.role == "signals":
            return self.worse
        return ~self.has_data | self.doubtful | self.unproven | self.unseen | self.worse

    @property
    def rolls_back(self) -> np.ndarray:
        """Whether the metric asks for a rollback."""
        return self.worse & self.settled & (self.metric.role != "signals" and not self.metric.dry_run)


def find(metric: MetricPolicy, estimate: Pooled, policy: JudgePolicy, clock: Clock) -> Finding:
    """Hold an estimate against the metric's margin.

    The two ends of the interval answer two questions and have a chance of error each: the end on the good side, whether it is
    worse (`alpha`, shared by all metrics), the end on the bad side, whether it is no worse (`promote_alpha`).
    """
    has = estimate.has_data
    margin, prior = metric.inner(metric.margin), metric.inner(metric.prior)
    resolution = np.inf if metric.resolution is None else metric.inner(metric.resolution)
    harm = np.where(has, metric.sign * estimate.difference, 0.0)
    variance = np.where(has, estimate.variance, np.inf)
    good_side = harm - two_scale_width(variance, policy.alpha_of(metric), prior)
    bad_side = harm + one_sided_width(variance, policy.promote_alpha, prior)
    now = _detectable(variance, policy, prior)
    end = _detectable(_variance_at_the_end(variance, estimate.step_variance, clock), policy, prior)
    powered = has & ((now <= margin) | (clock.last & (end <= margin)))
    no_worse = has & (bad_side < margin)
    impatient = np.asarray(clock.step_s) < policy.patience * (np.asarray(clock.step_s) + clock.left_s)
    low, high = (good_side, bad_side) if metric.sign > 0 else (-bad_side, -good_side)
    judged = metric.role != "signals"
    return Finding(
        metric.name,
        metric.label,
        metric,
        estimate,
        low=low,
        high=high,
        has_data=has,
        worse=has & (good_side > margin),
        no_worse=no_worse,
        better=has & (bad_side < 0),
        detectable=now,
        detectable_last=end,
        powered=powered,
        settled=np.asarray(clock.age_s) >= metric.settle_s,
        doubtful=judged & has & (harm > margin) & (harm >= DOUBTFUL_Z * np.sqrt(variance)),
        unproven=(metric.role == "decides") & clock.last & powered & ~no_worse,
        unseen=judged & clock.last & has & (now > resolution) & ((end <= resolution) | impatient),
    )


def answer(
    findings: Sequence[Finding], users: np.ndarray, in_step: np.ndarray, mismatch: np.ndarray, policy: JudgePolicy, clock: Clock
) -> np.ndarray:
    """UNDECIDED, STEP_UP or ROLL_BACK for each look (...,).

    users: most users of each arm that one step has met (..., 2); in_step: those of the newest step (..., 2); mismatch: whether
    some step's arms do not fit its split (...,).
    """
    enough = users.min(axis=-1) >= policy.min_users_to_roll_back
    back = np.any([one.rolls_back & (enough | _paired_enough(one, policy)) for one in findings], axis=0)
    held = np.any([one.holds for one in findings], axis=0) | mismatch
    held = held | (in_step.min(axis=-1) < policy.min_users) | (np.asarray(clock.step_s) < policy.warm_up_s)
    return np.where(back, ROLL_BACK, np.where(held, UNDECIDED, STEP_UP))


def _paired_enough(finding: Finding, policy: JudgePolicy) -> np.ndarray:
    """Whether a loss rests on enough users: both releases predicted for the same ones, whichever answered them."""
    paired = finding.metric.name == "log_loss"
    return paired & (np.asarray(finding.estimate.control_users) >= policy.min_users_to_roll_back)


def mismatched(in_step: np.ndarray, share: float, step: int, policy: JudgePolicy) -> tuple[np.ndarray, np.ndarray]:
    """The p-value (...,) of a step's users (..., 2) under its split, and whether that is an alarm.

    Step k of 0, 1, ... has the 2^-(k+1)-th part of the chance of a false alarm: however many steps follow, the sum holds.
    """
    p = ratio_mismatch_p(in_step[..., 0], in_step[..., 1], share)
    return p, p < policy.ratio_alpha / 2 ** (step + 1)


def _detectable(variance: np.ndarray, policy: JudgePolicy, prior: float) -> np.ndarray:
    """A release that is alike is shown to be no worse than this, and one worse by this to be worse than alike, with power."""
    return one_sided_width(variance, policy.promote_alpha, prior) + ndtri(policy.power) * np.sqrt(variance)


def _variance_at_the_end(variance: np.ndarray, step_variance: np.ndarray, clock: Clock) -> np.ndarray:
    """The step goes on to bring information at the rate so far; kind to the metric, and exact when no time is left."""
    more = np.asarray(clock.left_s) / np.maximum(clock.step_s, 1.0)
    usable = np.isfinite(variance) & (variance > 0)
    information = 1 / np.where(usable, variance, 1.0) + more / np.where(step_variance > 0, step_variance, np.inf)
    return np.where(usable, 1 / information, variance)
