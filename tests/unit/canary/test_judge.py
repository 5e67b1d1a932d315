"""The judge: golden values, what each kind of harm leads to, and its error rates under continuous peeking."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from monitoring.canary.judge import JudgePolicy, judge
from monitoring.canary.verdict import Verdict, verdict_in
from monitoring.canary.visits import ArmEvidence, VisitEvidence
from tests.unit.canary.arms import arm, first_users

POLICY = JudgePolicy(deciding_heads=("click", "video_view"), log_loss_margin=0.05)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def visit(release: str, user: int, n: int = 0, **changes: object) -> VisitEvidence:
    content = {"rows": 2, "log_loss": {"click": 1.0}, "reference_log_loss": {"click": 1.0}, "ndcg": 0.5, "latency_ms": 10.0}
    return VisitEvidence(release_id=release, user_id=user, request_id=f"q-{user}-{n}", at_us=n, **{**content, **changes})


# ---- golden values ------------------------------------------------------------------------------------------------
def test_visits_are_summed_by_user_and_failed_ones_count_as_errors_only():
    evidence = ArmEvidence.of(
        [
            visit("r1", 7, 0, log_loss={"click": 1.5}, ndcg=0.4, distinct_author_share=0.8),
            visit("r1", 7, 1, rows=3, log_loss={"click": 0.6}, ndcg=None, empty=True),
            visit("r1", 3, 2, error=True, latency_ms=900.0),
        ]
    )
    assert evidence.user_id.tolist() == [3, 7]
    assert evidence.visits.tolist() == [1, 2]
    assert evidence.rows.tolist() == [0, 5]
    assert evidence.log_loss["click"].tolist() == pytest.approx([0.0, 2.1])
    assert (evidence.ndcg_sum.tolist(), evidence.ndcg_visits.tolist()) == ([0.0, 0.4], [0, 1])
    assert (evidence.errors.tolist(), evidence.empties.tolist()) == ([1, 0], [0, 1])
    assert (evidence.author_share_sum.tolist(), evidence.author_share_visits.tolist()) == ([0.0, 0.8], [0, 1])
    assert evidence.latency_ms.tolist() == [10.0, 10.0]


def test_the_difference_is_of_user_means_and_the_interval_the_confidence_sequence():
    control = ArmEvidence.of(
        [visit("r1", u, rows=1, log_loss={"click": v}, reference_log_loss={}) for u, v in enumerate((1, 2, 3))]
    )
    treatment = ArmEvidence.of(
        [visit("r2", 10 + u, rows=1, log_loss={"click": v}, reference_log_loss={}) for u, v in enumerate((2, 4, 6))]
    )
    policy = JudgePolicy(deciding_heads=("click",), alpha=0.1, tuned_for=1.5)
    result = judge(control, treatment, policy).metric("log_loss.click")
    assert (result.control, result.treatment, result.difference) == pytest.approx((2.0, 4.0, 2.0))
    # Variances 1 and 4 over 3 users each; alpha 0.1 / 2 for the only deciding head; n m / (n + m) = 1.5 users.
    rho2 = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 1.5
    width = math.sqrt(5 / 3 * 2 * (1.5 * rho2 + 1) / (1.5 * rho2) * math.log(math.sqrt(1.5 * rho2 + 1) / 0.05))
    assert (result.low, result.high) == pytest.approx((2.0 - width, 2.0 + width))
    assert result.limit == pytest.approx(0.03 * 2.0)


def test_the_control_variate_takes_out_how_hard_a_user_is_to_predict(rng):
    control, treatment = arm(rng, 600), arm(rng, 600, first_user=10_000)
    without = [replace(a, reference_log_loss={h: np.full(len(a), np.nan) for h in a.log_loss}) for a in (control, treatment)]
    adjusted = judge(control, treatment, POLICY).metric("log_loss.click")
    raw = judge(*without, POLICY).metric("log_loss.click")
    assert adjusted.high - adjusted.low < 0.5 * (raw.high - raw.low)
    assert adjusted.low < 0 < adjusted.high


def test_a_reference_that_is_the_outcome_itself_leaves_no_doubt(rng):
    control = arm(rng, 300)
    control = replace(control, reference_log_loss=control.log_loss)
    treatment = arm(rng, 300, first_user=10_000)
    shifted = {head: sums - 0.1 * treatment.rows for head, sums in treatment.log_loss.items()}
    result = judge(control, replace(treatment, reference_log_loss=shifted), POLICY).metric("log_loss.click")
    assert result.difference == pytest.approx(0.1, abs=1e-6)
    assert result.decision == "worse"


# ---- what it says -------------------------------------------------------------------------------------------------
def test_two_alike_arms_are_promoted_once_there_is_enough_evidence(rng):
    verdict = judge(arm(rng, 4_000), arm(rng, 4_000, first_user=10_000), replace(POLICY, treatment_share=0.5))
    assert verdict.decision == "promote", verdict.reasons
    assert {metric.decision for metric in verdict.metrics if metric.role == "decides"} <= {"better", "no_worse"}


@pytest.mark.parametrize(
    ("harm", "metric"),
    [
        ({"worse": 0.2}, "log_loss.click"),
        ({"ndcg_loss": 0.2}, "ndcg"),
        ({"error_share": 0.2}, "errors"),
        ({"slower": 3.0}, "latency_p95"),
    ],
)
def test_each_kind_of_harm_is_rolled_back_and_named(rng, harm, metric):
    verdict = judge(arm(rng, 1_500), arm(rng, 1_500, first_user=10_000, **harm), POLICY)
    assert verdict.decision == "rollback"
    assert verdict.metric(metric).decision == "worse"
    assert any(verdict.metric(metric).label in reason for reason in verdict.reasons)


def test_a_release_that_only_fails_is_rolled_back_though_nothing_else_is_known():
    control = ArmEvidence.of([visit("r1", user) for user in range(120)])
    treatment = ArmEvidence.of([visit("r2", 1_000 + user, error=True) for user in range(120)])
    verdict = judge(control, treatment, POLICY)
    assert verdict.decision == "rollback"
    assert verdict.metric("log_loss.click").decision == "no_data"


def test_few_users_settle_nothing(rng):
    verdict = judge(arm(rng, 40), arm(rng, 40, first_user=10_000, worse=0.5), POLICY)
    assert verdict.decision == "inconclusive"
    assert "too few users: 40" in verdict.reasons[0]


def test_no_evidence_is_an_answer_too():
    verdict = judge(ArmEvidence.of([]), ArmEvidence.of([]), replace(POLICY, treatment_share=0.5))
    assert verdict.decision == "inconclusive"
    assert {metric.decision for metric in verdict.metrics} == {"no_data"}


def test_arms_of_the_wrong_size_are_not_promoted(rng):
    verdict = judge(arm(rng, 4_600), arm(rng, 3_400, first_user=10_000), replace(POLICY, treatment_share=0.5))
    assert verdict.decision == "inconclusive"
    assert any("do not fit the split" in reason for reason in verdict.reasons)


def test_users_who_met_both_releases_count_for_neither(rng):
    control, treatment = arm(rng, 2_000), arm(rng, 2_000, first_user=1_900)
    verdict = judge(control, treatment, POLICY)
    assert verdict.samples["crossed_users"] == 100
    assert verdict.samples["control_users"] == verdict.samples["treatment_users"] == 1_900
    assert any("100 users met both releases" in reason for reason in verdict.reasons)


def test_an_observed_head_never_decides(rng):
    treatment = arm(rng, 3_000, first_user=10_000)
    treatment = replace(treatment, log_loss={**treatment.log_loss, "like": treatment.rows * 9.0})
    control = arm(rng, 3_000)
    control = replace(control, log_loss={**control.log_loss, "like": control.rows * rng.normal(0.1, 0.01, 3_000)})
    verdict = judge(control, treatment, replace(POLICY, observed_heads=("like",)))
    assert verdict.metric("log_loss.like").decision == "worse"
    assert verdict.decision == "promote"


def test_without_a_deciding_head_nothing_is_promoted_and_the_guards_still_roll_back(rng):
    undecided = replace(POLICY, deciding_heads=None)
    verdict = judge(arm(rng, 4_000), arm(rng, 4_000, first_user=10_000), undecided)
    assert verdict.decision == "inconclusive"
    assert [metric.name for metric in verdict.metrics if metric.role == "decides"] == []
    assert verdict.reasons[0].startswith("nothing to decide by: no head was chosen")
    assert judge(arm(rng, 1_500), arm(rng, 1_500, first_user=10_000, error_share=0.3), undecided).decision == "rollback"


def test_the_deciding_heads_are_those_of_the_policy_whatever_the_evidence_says(rng):
    control, treatment = arm(rng, 900), arm(rng, 900, first_user=10_000)
    given = replace(POLICY, deciding_heads=("video_view", "like"))
    for looked in (control, replace(control, log_loss={**control.log_loss, "share": control.rows * 9.0})):
        decides = [metric for metric in judge(looked, treatment, given).metrics if metric.role == "decides"]
        assert [(metric.name, metric.decision == "no_data") for metric in decides] == [
            ("log_loss.video_view", False),
            ("log_loss.like", True),
        ]


def test_a_label_calls_an_own_action_by_its_name(rng):
    policy = JudgePolicy(deciding_heads=("own_5", "video_view"), own_actions={"purchase": "own_5"})
    verdict = judge(arm(rng, 60), arm(rng, 60, first_user=10_000), policy)
    assert [metric.label for metric in verdict.metrics[:2]] == ["Log loss, purchase", "Log loss, video view"]


def test_a_verdict_survives_the_ledger(rng):
    verdict = judge(arm(rng, 300), arm(rng, 300, first_user=10_000), replace(POLICY, treatment_share=0.5))
    kept = verdict.to_dict()
    back = Verdict.from_dict(kept)
    assert back.to_dict() == kept
    assert verdict_in({"since_us": 3, "verdict": kept}).decision == verdict_in(kept).decision == verdict.decision
    assert verdict_in({"since_us": 3, "verdict": None}) is None


@pytest.mark.parametrize("broken", [{"alpha": 0.0}, {"alpha": 0.6}, {"treatment_share": 1.0}, {"deciding_heads": ()}])
def test_a_senseless_policy_is_refused(broken):
    with pytest.raises(ValueError, match=next(iter(broken))):
        JudgePolicy(**broken)


# ---- error rates --------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_release_as_good_as_the_live_one_is_hardly_ever_rolled_back_however_often_one_looks():
    rng = np.random.default_rng(2022)
    rollouts, false_rollbacks = 150, 0
    for _ in range(rollouts):
        control, treatment = arm(rng, 900), arm(rng, 900, first_user=10_000)
        looks = (judge(first_users(control, n), first_users(treatment, n), POLICY) for n in range(50, 901, 50))
        false_rollbacks += any(look.decision == "rollback" for look in looks)
    assert false_rollbacks <= POLICY.alpha * rollouts


def test_a_big_regression_is_always_found_within_a_few_hundred_users():
    rng = np.random.default_rng(4)
    needed = []
    for _ in range(40):
        control, treatment = arm(rng, 600), arm(rng, 600, first_user=10_000, worse=0.1)
        sizes = range(50, 601, 50)
        found = [n for n in sizes if judge(first_users(control, n), first_users(treatment, n), POLICY).decision == "rollback"]
        assert found, "a log loss worse by 0.1 nats was not found among 600 users"
        needed.append(found[0])
    assert np.median(needed) <= 300
