"""The judge's reasons in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monitoring.canary.amounts import amount, compared, worsening, worsening_seen
from monitoring.canary.decisions import DOUBTFUL_Z, Clock, Finding
from monitoring.canary.policy import JudgePolicy
from monitoring.canary.quantiles import LEAST_ANSWERS
from monitoring.canary.verdict import MetricResult

_WORDS = {"better": "better", "no_worse": "no worse than tolerated", "worse": "worse", "inconclusive": "not settled yet"}


def waiting(
    in_step: np.ndarray,
    policy: JudgePolicy,
    clock: Clock,
    alarms: Sequence[tuple[int, np.ndarray, float, float]],
) -> list[str]:
    """Reasons not to step up yet that no metric has. alarms: step, its users (2,), the canary's expected share, p-value."""
    reasons = []
    if clock.step_s < policy.warm_up_s:
        reasons.append(f"warming up: {clock.step_s:,.0f} s of this step have passed, {policy.warm_up_s:,.0f} s are waited")
    if in_step.min() < policy.min_users:
        reasons.append(
            f"too few users: this step met {in_step[0]:,} on the live release and {in_step[1]:,} on the canary, "
            f"{policy.min_users} are needed in each"
        )
    for step, users, share, p in alarms:
        reasons.append(
            f"the arms' sizes do not fit the split in step {step + 1} ({users[1] / max(users.sum(), 1):.1%} of users on the "
            f"canary, {share:.1%} expected, p = {p:.1e}): find out who is missing before trusting any comparison"
        )
    return reasons


def too_few_answers(control: int, treatment: int) -> str:
    """Why there is no p95 yet."""
    return (
        f"too few answers for a p95 yet: {control:,} and {treatment:,} in the two arms, at least {LEAST_ANSWERS} are needed in "
        "each, and more where a user's answers are alike"
    )


def held(result: MetricResult, finding: Finding) -> str:
    """Why a metric stands against the step up."""
    if not finding.has_data:
        return (
            f"{result.label}: no data to compare "
            f"({result.control_users:,} users on the live release, {result.treatment_users:,} on the canary)"
        )
    if finding.missing:
        return f"{result.label}: {finding.missing}"
    if finding.doubtful or finding.worse:
        return (
            f"{result.label} is estimated beyond its limit, {DOUBTFUL_Z} standard errors or more from alike: {compared(result)}"
        )
    if finding.unproven:
        return f"{result.label} has the traffic to be shown no worse, and is not yet: {compared(result)}"
    return (
        f"{result.label} would not see {worsening(result, finding.metric.resolution)} yet: "
        f"so far {worsening_seen(result)} would show"
    )


def told(result: MetricResult, finding: Finding, policy: JudgePolicy) -> str:
    """What a metric says, and what it could have seen."""
    if not finding.has_data:
        return f"{result.label}: no data"
    if finding.missing:
        return f"{result.label}: {finding.missing}"
    if result.decision == "worse":
        return f"{result.label} is worse: {compared(result)}"
    seen = f"{worsening_seen(result)} would have shown with {policy.power:.0%} certainty"
    if not result.powered and result.role == "decides":
        seen += f"; for its margin of {amount(result, finding.metric.margin)} there is too little traffic, so it only guards"
    return f"{result.label} is {_WORDS[result.decision]}: {compared(result)}; {seen}"


def silent(result: MetricResult, policy: JudgePolicy) -> str:
    """Why a head has no part in the decision."""
    return (
        f"{result.label} has no part: the {policy.max_deciding_heads} commonest heads with {policy.least_positives} posts with "
        "and without the action decide"
    )
