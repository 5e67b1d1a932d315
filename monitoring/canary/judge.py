"""The judge of a canary: a rollout's evidence in, a verdict out. Pure: no clock, no storage, no randomness.

It may be asked after every visit. The chance that it ever rolls back a release that is as good as the live one, over all
metrics, steps and looks, is at most `policy.alpha`: every bound is valid at all times at once, the evidence of all steps is
one estimate, and the metrics share alpha (Bonferroni) in parts that do not depend on the evidence. `inconclusive` is an
answer, never an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from feature_repo.ids.own_actions import with_own_names
from monitoring.canary import sentences
from monitoring.canary.decisions import ROLL_BACK, STEP_UP, UNDECIDED, Clock, Finding, answer, find, mismatched
from monitoring.canary.metric_sources import (
    SOURCES,
    deciding_heads,
    estimate_latency,
    estimate_loss,
    estimate_ratio,
    latency_answers,
)
from monitoring.canary.policy import JudgePolicy, MetricPolicy
from monitoring.canary.rollout_evidence import RolloutEvidence, UserSums
from monitoring.canary.verdict import MetricDecision, MetricResult, Unit, Verdict

__all__ = ["JudgePolicy", "MetricResult", "Place", "Verdict", "judge"]


@dataclass(frozen=True)
class Place:
    """Where the rollout stands: whether this is the ramp's last step, seconds since that began and until it is given up, and
    since the first step began.

    Pauses do not count in `step_s`.
    """

    last: bool
    step_s: float
    left_s: float
    age_s: float = math.inf


def judge(evidence: RolloutEvidence, policy: JudgePolicy, place: Place) -> Verdict:
    """Whether the canary may take its next step ("promote"; at the last one: be put to people), must go, or neither yet."""
    clock = Clock(place.last, max(place.step_s, 0.0), max(place.left_s, 0.0), max(place.age_s, 0.0))
    findings, silent = _findings(evidence, policy, clock)
    counts = users_by_step(evidence.requests, len(evidence.shares))
    users, in_step = counts.max(axis=0, initial=0), counts[-1] if len(counts) else np.zeros(2, np.int64)
    tests = [mismatched(one, share, k, policy) for k, (one, share) in enumerate(zip(counts, evidence.shares, strict=True))]
    alarms = [k for k, (_, alarm) in enumerate(tests) if alarm]
    code = int(answer(findings, users, in_step, np.asarray(bool(alarms)), policy, clock))
    # Labels come later than users do: the last step waits a while for heads that may speak yet.
    unheard = _decides_by_losses(policy) and not any(_is_loss(one) for one in findings)
    waits = unheard and clock.last and clock.step_s < policy.patience * (clock.step_s + clock.left_s)
    if waits and code == STEP_UP:
        code = UNDECIDED
    samples: dict[str, float | int | None] = {
        "control_users": int(users[0]),
        "treatment_users": int(users[1]),
        "control_visits": _visits(evidence.requests, treated=False),
        "treatment_visits": _visits(evidence.requests, treated=True),
        "step_control_users": int(in_step[0]),
        "step_treatment_users": int(in_step[1]),
        "expected_treatment_share": evidence.shares[-1] if evidence.shares else None,
        "ratio_p": float(min(p for p, _ in tests)) if tests else None,
        "needed_users": policy.min_users,
    }
    results = [_result(finding, policy) for finding in findings]
    said = list(zip(results, findings, strict=True))
    if code == ROLL_BACK:
        reasons = [one.says for one, found in said if found.rolls_back]
    elif code == STEP_UP:
        reasons = [one.says for one in results if one.role == "decides" and not one.dry_run]
    else:
        reasons = sentences.waiting(in_step, policy, clock, [(k, counts[k], evidence.shares[k], tests[k][0]) for k in alarms])
        reasons += [sentences.held(one, found) for one, found in said if found.holds]
    if code != ROLL_BACK and unheard:
        reasons.append(
            "no head has enough positives yet; the last step waits for them"
            if waits
            else "no head has enough positives; engagement and guards decide alone"
        )
    results += [_observed(_result(one, policy), policy) for one in silent]
    return Verdict({ROLL_BACK: "rollback", STEP_UP: "promote"}.get(code, "inconclusive"), results, reasons, samples)


def users_by_step(requests: UserSums, steps: int) -> np.ndarray:
    """Users of each step and arm, int64 (steps, 2): everybody who asked, whatever they got."""
    return np.bincount(2 * requests.step + requests.treated, minlength=2 * steps).reshape(steps, 2)


def _visits(requests: UserSums, treated: bool) -> int:
    """Requests of one arm over all steps."""
    visits = requests.sums.get("requests", np.zeros(len(requests.user)))[requests.treated == treated]
    return int(visits[np.isfinite(visits)].sum())


def _decides_by_losses(policy: JudgePolicy) -> bool:
    return any(metric.name == "log_loss" and metric.role == "decides" for metric in policy.metrics)


def _is_loss(finding: Finding) -> bool:
    return finding.metric.name == "log_loss"


def _findings(evidence: RolloutEvidence, policy: JudgePolicy, clock: Clock) -> tuple[list[Finding], list[Finding]]:
    """What each metric says; and the heads with too few positives or negatives, for the record."""
    findings: list[Finding] = []
    silent: list[Finding] = []
    for metric in policy.metrics:
        if metric.name == "log_loss":
            chosen, others = deciding_heads(evidence.losses, policy.least_positives, policy.max_deciding_heads, policy.heads)
            for head in (*chosen, *others):
                found = find(metric, estimate_loss(evidence.losses, head), policy, clock)
                named = replace(found, name=f"log_loss.{head}", label=f"{metric.label}, {_words(head, policy)}")
                (findings if head in chosen else silent).append(named)
        elif metric.name == "latency_p95":
            found = find(metric, estimate_latency(evidence.times, len(evidence.shares)), policy, clock)
            unknown = not np.isfinite(found.estimate.control)
            said = sentences.too_few_answers(*latency_answers(evidence.times, len(evidence.shares))) if unknown else ""
            findings.append(replace(found, missing=said))
        else:
            findings.append(find(metric, estimate_ratio(metric, evidence), policy, clock))
    return findings, silent


def _words(head: str, policy: JudgePolicy) -> str:
    """A head as people call it: an own action by its name."""
    named = with_own_names(head, policy.own_actions)
    return named if named != head else head.replace("_", " ")


def _result(finding: Finding, policy: JudgePolicy) -> MetricResult:
    metric, estimate = finding.metric, finding.estimate
    outer = _factor if metric.scale == "ratio" else np.asarray  # from the scale computed with to that of the policy
    low, high, difference = (float(outer(value)) for value in (finding.low, finding.high, estimate.difference))
    result = MetricResult(
        name=finding.name,
        label=finding.label,
        role=metric.role,
        better=metric.better,
        control=float(estimate.control),
        treatment=float(estimate.treatment),
        difference=difference,
        low=low if finding.has_data else float("nan"),
        high=high if finding.has_data else float("nan"),
        null=metric.null,
        limit=metric.limit,
        decision=_decision(finding),
        control_users=int(estimate.control_users),
        treatment_users=int(estimate.treatment_users),
        alpha=policy.alpha_of(metric),
        unit=_unit(metric),
        scale=metric.scale,
        detectable=float(outer(finding.detectable)),
        detectable_last=float(outer(finding.detectable_last)),
        powered=bool(finding.powered),
        dry_run=metric.dry_run,
        missing=finding.missing,
    )
    return replace(result, says=sentences.told(result, finding, policy))


def _observed(result: MetricResult, policy: JudgePolicy) -> MetricResult:
    """A head that has no part in the decision."""
    return replace(result, role="observed", decision="no_data", powered=False, says=sentences.silent(result, policy))


def _factor(logarithm: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # of an estimate that says nothing
        return np.exp(logarithm)


def _decision(finding: Finding) -> MetricDecision:
    if not finding.has_data:
        return "no_data"
    if finding.worse:
        return "worse"
    if finding.better:
        return "better"
    return "no_worse" if finding.no_worse else "inconclusive"


def _unit(metric: MetricPolicy) -> Unit:
    if metric.name == "log_loss":
        return "nats"
    return "ms" if metric.name == "latency_p95" else SOURCES[metric.name].unit
