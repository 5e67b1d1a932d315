"""The judge of a canary: two arms' evidence in, a verdict out. Pure: no clock, no storage, no randomness.

It may be asked after every visit. The chance that it ever rolls back a release that is as good as the live one is at
most `policy.alpha`: every interval is valid at all times at once, and the metrics share alpha (Bonferroni), half among
the deciding metrics, half among the guards. Hence the deciding heads are given, and the same at every look. `inconclusive`
is an answer, never an error.
"""

from __future__ import annotations

import numpy as np

from feature_repo.ids.own_actions import with_own_names
from monitoring.canary.comparison import Metric, UserValues, compare_latency, compare_means
from monitoring.canary.intervals import ratio_mismatch_p
from monitoring.canary.policy import JudgePolicy
from monitoring.canary.verdict import Decision, MetricResult, Verdict
from monitoring.canary.visits import ArmEvidence

__all__ = ["JudgePolicy", "MetricResult", "Verdict", "judge"]

ROWS_CAP = 20  # judged posts beyond which a user weighs no more
_GUARDS = 5  # ndcg, errors, empties, authors, latency


def judge(control: ArmEvidence, treatment: ArmEvidence, policy: JudgePolicy | None = None) -> Verdict:
    """Compare the live release (`control`) with the canary (`treatment`) on users that met only one of them."""
    policy = policy or JudgePolicy()
    crossed = np.intersect1d(control.user_id, treatment.user_id)
    own_control, own_treatment = control.without(crossed), treatment.without(crossed)
    metrics = _metrics(own_control, own_treatment, policy)
    samples: dict[str, float | int | None] = {
        "control_users": len(own_control),
        "treatment_users": len(own_treatment),
        "control_visits": own_control.total_visits,
        "treatment_visits": own_treatment.total_visits,
        "crossed_users": len(crossed),
        "expected_treatment_share": policy.treatment_share,
        "ratio_p": _ratio_p(own_control, own_treatment, policy),
        "needed_users": policy.min_users,
    }
    decision, reasons = _decide(metrics, samples, policy)
    return Verdict(decision, metrics, reasons, samples)


def _metrics(control: ArmEvidence, treatment: ArmEvidence, policy: JudgePolicy) -> list[MetricResult]:
    deciding = policy.deciding_heads or ()
    deciding_alpha = policy.alpha / 2 / max(len(deciding), 1)
    guard_alpha = policy.alpha / 2 / _GUARDS
    results = []
    for head in (*deciding, *policy.observed_heads):
        arms = _log_loss(control, head), _log_loss(treatment, head)
        level = float(arms[0].shares @ arms[0].value) if len(arms[0].value) else 0.0
        role = "decides" if head in deciding else "observed"
        metric = Metric(f"log_loss.{head}", f"Log loss, {_words(head, policy)}", role, "lower", policy.log_loss_margin * level)
        results.append(compare_means(metric, *arms, deciding_alpha, policy.tuned_for))
    guards = [
        (Metric("ndcg", "NDCG", "guards", "higher", policy.ndcg_margin, unit="score"), _ndcg),
        (Metric("errors", "Errors", "guards", "lower", policy.error_margin, True, True, "share"), _errors),
        (Metric("empties", "Empty timelines", "guards", "lower", policy.empty_margin, True, True, "share"), _empties),
        (Metric("authors", "Distinct authors", "guards", "higher", policy.author_share_margin, True, unit="share"), _authors),
    ]
    for metric, values in guards:
        results.append(compare_means(metric, values(control), values(treatment), guard_alpha, policy.tuned_for))
    latency = Metric("latency_p95", "Latency p95, ratio", "guards", "lower", policy.latency_ratio - 1, True, unit="ms")
    results.append(compare_latency(latency, control.latency_ms, treatment.latency_ms, guard_alpha))
    return results


def _words(head: str, policy: JudgePolicy) -> str:
    """A head as people call it: an own action by its name."""
    named = with_own_names(head, policy.own_actions)
    return named if named != head else head.replace("_", " ")


def _decide(
    metrics: list[MetricResult], samples: dict[str, float | int | None], policy: JudgePolicy
) -> tuple[Decision, list[str]]:
    users = min(samples["control_users"] or 0, samples["treatment_users"] or 0)
    worse = [m for m in metrics if m.decision == "worse" and m.role != "observed"]
    if worse and users >= policy.min_users_to_roll_back:
        return "rollback", [_sentence(metric) for metric in worse]
    holds = _holds(metrics, samples, policy, users)
    if holds:
        return "inconclusive", holds
    return "promote", [_sentence(metric) for metric in metrics if metric.role == "decides"]


def _holds(metrics: list[MetricResult], samples: dict[str, float | int | None], policy: JudgePolicy, users: float) -> list[str]:
    """Every reason not to promote yet, in words."""
    holds = []
    if users < policy.min_users:
        holds.append(
            f"too few users: {samples['control_users']} on the live release and {samples['treatment_users']} on the canary, "
            f"{policy.min_users} are needed in each"
        )
    if samples["ratio_p"] is not None and samples["ratio_p"] < policy.ratio_alpha:
        seen = (samples["treatment_users"] or 0) / max((samples["treatment_users"] or 0) + (samples["control_users"] or 0), 1)
        holds.append(
            f"the arms' sizes do not fit the split ({seen:.1%} of users on the canary, {policy.treatment_share:.1%} expected, "
            f"p = {samples['ratio_p']:.1e}): find out who is missing before trusting any comparison"
        )
    everyone = users and (samples["control_users"] or 0) + (samples["treatment_users"] or 0) + (samples["crossed_users"] or 0)
    if everyone and (samples["crossed_users"] or 0) / everyone > policy.max_crossover_share:
        holds.append(
            f"{samples['crossed_users']} users met both releases and are left out; judge visits since the last ramp step only"
        )
    if not any(metric.role == "decides" for metric in metrics):
        holds.append("nothing to decide by: no head was chosen when the canary began; name some in MIXER_DECIDING_HEADS")
    for metric in metrics:
        if metric.role == "decides" and metric.decision not in ("better", "no_worse"):
            holds.append(_sentence(metric))
        elif metric.role == "guards" and _estimate_beyond_limit(metric):
            holds.append(f"{metric.label} is estimated beyond its limit: {_sentence(metric)}")
    return holds


def _estimate_beyond_limit(metric: MetricResult) -> bool:
    if metric.decision == "no_data":
        return False
    return metric.difference > metric.limit if metric.better == "lower" else metric.difference < metric.limit


def _sentence(metric: MetricResult) -> str:
    if metric.decision == "no_data":
        return f"{metric.label}: no data ({metric.control_users} and {metric.treatment_users} users)"
    words = {"better": "better", "no_worse": "no worse than tolerated", "worse": "worse", "inconclusive": "not settled yet"}
    what, sign = ("ratio", "") if metric.null else ("difference", "+")
    limit = f"at {'most' if metric.better == 'lower' else 'least'} {metric.limit:{sign}.3g} is tolerated"
    return (
        f"{metric.label} is {words[metric.decision]}: "
        f"{metric.control:.3g} on the live release, {metric.treatment:.3g} on the canary; the {what} lies "
        f"between {metric.low:{sign}.2g} and {metric.high:{sign}.2g}, {limit}"
    )


def _ratio_p(control: ArmEvidence, treatment: ArmEvidence, policy: JudgePolicy) -> float | None:
    if policy.treatment_share is None:
        return None
    return ratio_mismatch_p(len(control), len(treatment), policy.treatment_share)


# ---- metrics by user ----------------------------------------------------------------------------------------------
def _log_loss(arm: ArmEvidence, head: str) -> UserValues:
    if head not in arm.log_loss:
        return UserValues(np.empty(0))
    has = arm.rows > 0
    rows = arm.rows[has]
    # A user counts by how much was judged, up to a cap, so that neither one-post users nor a few heavy ones set the noise.
    weight = np.minimum(rows, ROWS_CAP).astype(np.float64)
    reference = arm.reference_log_loss.get(head)
    return UserValues(arm.log_loss[head][has] / rows, None if reference is None else reference[has] / rows, weight)


def _ndcg(arm: ArmEvidence) -> UserValues:
    has = arm.ndcg_visits > 0
    visits = arm.ndcg_visits[has]
    return UserValues(arm.ndcg_sum[has] / visits, arm.reference_ndcg_sum[has] / visits)


def _errors(arm: ArmEvidence) -> UserValues:
    return UserValues(arm.errors / np.maximum(arm.visits, 1))


def _empties(arm: ArmEvidence) -> UserValues:
    served = arm.visits - arm.errors
    has = served > 0
    return UserValues(arm.empties[has] / served[has])


def _authors(arm: ArmEvidence) -> UserValues:
    has = arm.author_share_visits > 0
    return UserValues(arm.author_share_sum[has] / arm.author_share_visits[has])
