"""The judge: what each kind of evidence leads to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from monitoring.canary.judge import JudgePolicy, Place, judge, users_by_step
from monitoring.canary.policy import MetricPolicy
from monitoring.canary.rollout_evidence import RolloutEvidence
from monitoring.canary.time_bins import NO_TIME
from tests.unit.canary.rollout_tables import no_losses, no_table, no_times, only, paired, rollout, with_sums

POLICY = JudgePolicy.default()
HOURS = 3_600.0
LAST = Place(last=True, step_s=12 * HOURS, left_s=12 * HOURS)
EARLIER = replace(LAST, last=False)
ENOUGH = 20_000


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def changed(policy: JudgePolicy, name: str, **fields: object) -> JudgePolicy:
    metrics = [MetricPolicy(**(one.model_dump() | fields)) if one.name == name else one for one in policy.metrics]
    return policy.model_copy(update={"metrics": tuple(metrics)})


# ---- harm and tolerance ---------------------------------------------------------------------------------------------
def test_two_alike_releases_are_put_to_people_once_there_is_enough_evidence(rng):
    verdict = judge(rollout(rng, ENOUGH), POLICY, LAST)
    assert verdict.decision == "promote", verdict.reasons
    assert all("would have shown with 95% certainty" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("harm", "metric"),
    [
        ({"engagement": 0.8}, "engagement"),
        ({"log_loss": 0.03}, "log_loss.click"),
        ({"failed": 0.007}, "failed"),
        ({"slower": 1.45}, "latency_p95"),
        ({"disliked": 1.5}, "disliked"),
    ],
)
def test_each_kind_of_harm_is_rolled_back_and_named(rng, harm, metric):
    verdict = judge(rollout(rng, ENOUGH, **harm), POLICY, EARLIER)
    assert verdict.decision == "rollback", verdict.reasons
    assert verdict.metric(metric).decision == "worse"
    assert verdict.metric(metric).says in verdict.reasons
    assert all(one.says.startswith(one.label) for one in verdict.metrics)


def test_a_process_that_has_just_begun_is_not_rolled_back_for_its_latency_but_held(rng):
    evidence, settle_s = rollout(rng, ENOUGH, slower=1.45), 120.0
    young = judge(evidence, POLICY, replace(EARLIER, age_s=settle_s - 1))
    assert (young.metric("latency_p95").decision, young.decision) == ("worse", "inconclusive")
    assert any(reason.startswith(young.metric("latency_p95").label) for reason in young.reasons)
    assert judge(evidence, POLICY, replace(EARLIER, age_s=settle_s)).decision == "rollback"
    failing = judge(rollout(rng, ENOUGH, failed=0.007), POLICY, replace(EARLIER, age_s=1.0))
    assert failing.decision == "rollback"


def test_what_is_tolerated_is_tolerated_however_surely_it_is_shown(rng):
    """Harm was once judged at zero, whatever the margin."""
    verdict = judge(rollout(rng, ENOUGH, log_loss=0.006), POLICY, LAST)
    loss = verdict.metric("log_loss.click")
    assert loss.low > 0 and loss.high < 0.01, "shown to be worse than alike, and to be within the margin"
    assert (loss.decision, verdict.decision) == ("no_worse", "promote")


def test_a_release_that_only_fails_is_rolled_back_though_nothing_else_is_known(rng):
    evidence = rollout(rng, 400)
    all_fail = np.where(evidence.requests.treated, evidence.requests.sums["requests"], 0.0)
    requests = with_sums(evidence.requests, failed=all_fail, pages=evidence.requests.sums["requests"] - all_fail)
    verdict = judge(replace(evidence, requests=requests, pages=no_table(), losses=no_losses()), POLICY, EARLIER)
    assert verdict.decision == "rollback"
    assert [metric.name for metric in verdict.metrics if metric.decision == "worse"] == ["failed"]


def test_an_estimate_beyond_the_margin_holds_and_mere_noise_does_not(rng):
    place = replace(EARLIER, step_s=HOURS)
    assert judge(rollout(rng, 2_500), POLICY, place).decision == "promote"
    held = judge(rollout(rng, 2_500, engagement=0.93), POLICY, place)
    assert held.decision == "inconclusive"
    assert any(reason.startswith("Engagement per user is estimated beyond its limit") for reason in held.reasons)


def test_a_metric_in_dry_run_is_judged_and_has_no_effect(rng):
    evidence = rollout(rng, ENOUGH, failed=0.01)
    verdict = judge(evidence, changed(POLICY, "failed", dry_run=True), LAST)
    assert (verdict.metric("failed").decision, verdict.metric("failed").dry_run) == ("worse", True)
    assert verdict.decision == "promote"


@pytest.mark.parametrize(("shift", "metric"), [({"authors": 0.6}, "author_share"), ({"age": 2.0}, "age_hours")])
def test_a_signal_holds_and_never_rolls_back(rng, shift, metric):
    verdict = judge(rollout(rng, ENOUGH, **shift), POLICY, EARLIER)
    assert (verdict.decision, verdict.metric(metric).decision) == ("inconclusive", "worse")
    assert [reason for reason in verdict.reasons if verdict.metric(metric).label in reason]


# ---- missing data ---------------------------------------------------------------------------------------------------
def without_times(evidence: RolloutEvidence, treated: bool) -> RolloutEvidence:
    arm = evidence.times.treated == treated
    return replace(evidence, times=replace(evidence.times, bin=np.where(arm, NO_TIME, evidence.times.bin)))


MISSING = {
    "latencies of the canary": (lambda e: without_times(e, True), "latency_p95"),
    "latencies of the live release, as from zeros": (lambda e: without_times(e, False), "latency_p95"),
    "pages": (lambda e: replace(e, pages=no_table()), "engagement"),
    "pages of the canary": (lambda e: replace(e, pages=only(e.pages, ~e.pages.treated)), "engagement"),
    "engagement": (lambda e: replace(e, pages=with_sums(e.pages, engagement=0.0)), "engagement"),
    "numbers": (lambda e: replace(e, pages=with_sums(e.pages, engagement=np.nan)), "engagement"),
    "finite displeasure": (lambda e: replace(e, pages=with_sums(e.pages, disliked=np.inf)), "disliked"),
    "a column": (lambda e: replace(e, requests=replace(e.requests, sums={"requests": e.requests.sums["requests"]})), "failed"),
}


@pytest.mark.parametrize("what", MISSING)
@pytest.mark.parametrize("place", [EARLIER, LAST], ids=["earlier", "last"])
@pytest.mark.filterwarnings("error")
def test_missing_evidence_holds_and_is_named(rng, what, place):
    """It once promoted."""
    take_away, metric = MISSING[what]
    verdict = judge(take_away(rollout(rng, 6_000)), POLICY, place)
    assert verdict.decision == "inconclusive"
    assert verdict.metric(metric).decision == "no_data"
    assert f"{verdict.metric(metric).label}: no data to compare" in "\n".join(verdict.reasons)


@pytest.mark.filterwarnings("error")
def test_no_evidence_is_an_answer_too():
    empty = RolloutEvidence((), no_table(), no_times(), no_table(), no_losses())
    verdict = judge(empty, POLICY, Place(False, 0.0, 0.0))
    assert verdict.decision == "inconclusive"
    assert {metric.decision for metric in verdict.metrics} == {"no_data"}


def test_a_covariate_that_is_missing_only_widens_the_interval(rng):
    evidence = rollout(rng, ENOUGH)
    without = replace(evidence, pages=with_sums(evidence.pages, before=np.nan))
    narrow, wide = (judge(one, POLICY, LAST).metric("engagement") for one in (evidence, without))
    assert wide.decision != "no_data"
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


# ---- heads ----------------------------------------------------------------------------------------------------------
def test_a_head_without_positives_is_silent(rng):
    """1.24e-5 nats against 1.13e-5 once rolled a release back."""
    verdict = judge(rollout(rng, ENOUGH), POLICY, LAST)
    silent = verdict.metric("log_loss.own_5")
    assert (silent.role, silent.decision, verdict.decision) == ("observed", "no_data", "promote")
    assert silent.treatment > 1.1 * silent.control
    assert silent.says.startswith("Log loss, own 5 has no part")


def test_the_commonest_heads_decide_and_a_policy_may_name_them(rng):
    evidence = rollout(rng, ENOUGH)
    one = POLICY.model_copy(update={"max_deciding_heads": 1})
    assert judge(evidence, one, LAST).metric("log_loss.like").role == "observed"
    assert judge(evidence, one, LAST).metric("log_loss.click").role == "decides"
    named = POLICY.model_copy(update={"heads": ("like",)})
    assert judge(evidence, named, LAST).metric("log_loss.click").role == "observed"


def test_without_a_head_that_can_decide_the_others_decide_alone(rng):
    verdict = judge(replace(rollout(rng, ENOUGH), losses=no_losses()), POLICY, LAST)
    assert verdict.decision == "promote"
    assert "no head has enough positives; engagement and guards decide alone" in verdict.reasons


def test_losses_that_are_no_numbers_hold(rng):
    evidence = rollout(rng, ENOUGH)
    broken = replace(evidence.losses, canary=evidence.losses.canary | {"click": np.full(ENOUGH, np.nan)})
    verdict = judge(replace(evidence, losses=broken), POLICY, LAST)
    assert verdict.decision == "inconclusive"
    assert any(reason.startswith("Log loss, click: no data") for reason in verdict.reasons)


def test_a_label_calls_an_own_action_by_its_name(rng):
    policy = POLICY.model_copy(update={"own_actions": {"purchase": "own_5"}})
    assert judge(rollout(rng, 60), policy, LAST).metric("log_loss.own_5").label == "Log loss, purchase"


# ---- the whole rollout ----------------------------------------------------------------------------------------------
def test_the_steps_are_one_estimate_and_share_one_alpha(rng):
    """Each step once began anew, with an alpha of its own."""
    shares = (0.1, 0.3, 0.5)
    evidence = rollout(rng, 3_000, shares=shares)
    newest = only(evidence.pages, evidence.pages.step == 2)
    last_alone = replace(rollout(rng, 3_000), pages=replace(newest, step=0 * newest.step))
    pooled, alone = (judge(one, POLICY, LAST).metric("engagement") for one in (evidence, last_alone))
    assert pooled.high - pooled.low < alone.high - alone.low
    assert pooled.alpha == alone.alpha
    results = judge(evidence, POLICY, LAST).metrics
    assert sum(one.alpha for one in results if one.role in ("decides", "guards")) <= POLICY.alpha + 1e-12


def test_each_metric_has_its_part_of_alpha_whatever_the_evidence_says(rng):
    evidence = rollout(rng, 3_000)
    verdicts = [judge(one, POLICY, LAST) for one in (evidence, replace(evidence, losses=no_losses()))]
    alphas = [{metric.name: metric.alpha for metric in verdict.metrics} for verdict in verdicts]
    assert all(alphas[0][name] == alpha for name, alpha in alphas[1].items())


def test_visits_of_one_user_are_no_independent_evidence(rng):
    evidence = rollout(rng, 1_500)
    five_times = replace(evidence, times=replace(evidence.times, count=5 * evidence.times.count))
    once, often = (judge(one, POLICY, LAST).metric("latency_p95") for one in (evidence, five_times))
    assert often.high / often.low == pytest.approx(once.high / once.low, rel=0.05)


def test_arms_of_the_wrong_size_are_not_promoted(rng):
    evidence = rollout(rng, 8_000)
    lost = (evidence.requests.treated) & (evidence.requests.user % 5 == 0)
    verdict = judge(replace(evidence, requests=only(evidence.requests, ~lost)), POLICY, LAST)
    assert verdict.decision == "inconclusive"
    assert any("do not fit the split in step 1" in reason for reason in verdict.reasons)


def test_nothing_steps_up_while_the_step_warms_up_or_has_few_users(rng):
    early = judge(rollout(rng, ENOUGH), POLICY, Place(False, 600.0, 20 * HOURS))
    assert early.decision == "inconclusive" and early.reasons[0].startswith("warming up: 600 s")
    few = judge(rollout(rng, 120), POLICY, EARLIER)
    assert few.decision == "inconclusive" and any(reason.startswith("too few users") for reason in few.reasons)
    assert judge(rollout(rng, 60, failed=0.9), POLICY, EARLIER).decision == "inconclusive"


# ---- what could have been seen --------------------------------------------------------------------------------------
def test_what_could_have_been_seen_holds_with_the_power_that_is_said():
    """A release that is alike is shown to be no worse than the detectable loss, 95 times of 100."""
    rng = np.random.default_rng(5)
    looks = [judge(rollout(rng, 1_500), POLICY, LAST).metric("engagement") for _ in range(60)]
    assert np.mean([look.low > -look.detectable for look in looks]) >= 0.87  # 0.95 less three standard errors
    assert all(0.02 < look.detectable < 0.3 for look in looks)
    lost = judge(rollout(rng, 1_500, engagement=1 - 2 * looks[0].detectable), POLICY, LAST).metric("engagement")
    assert lost.decision == "worse"


def test_a_deciding_metric_with_power_must_be_shown_to_be_no_worse_at_the_last_step_only():
    evidence, place = rollout(np.random.default_rng(3), 6_000), Place(True, 2 * HOURS, 22 * HOURS)
    engagement = judge(evidence, POLICY, place).metric("engagement")
    assert engagement.powered and engagement.decision == "inconclusive" and engagement.detectable_last < 0.02
    assert judge(evidence, POLICY, place).decision == "inconclusive"
    assert judge(evidence, POLICY, replace(place, last=False)).decision == "promote"


def test_a_deciding_metric_without_power_guards_only_and_says_what_it_could_have_seen(rng):
    place = Place(True, 24 * HOURS - 60, 60.0)
    verdict = judge(rollout(rng, 5_000), POLICY, place)
    assert not verdict.metric("engagement").powered
    assert verdict.decision == "promote", verdict.reasons
    assert "there is too little traffic, so it only guards" in verdict.reasons[0]


def test_the_last_step_goes_on_until_the_resolution_is_reached(rng):
    verdict = judge(rollout(rng, 1_500), POLICY, Place(True, 2 * HOURS, 22 * HOURS))
    assert any("would not see a loss of 8 % yet" in reason for reason in verdict.reasons)
    assert judge(rollout(rng, 300), POLICY, Place(True, 24 * HOURS - 60, 60.0)).decision == "promote"  # it never will be


def test_a_p95_that_is_unknown_says_how_many_answers_there_are_and_how_many_it_needs(rng):
    found = judge(rollout(rng, 20), POLICY, LAST).metric("latency_p95")
    assert found.missing.startswith("too few answers for a p95 yet: ")
    assert "at least 77 are needed in each" in found.missing
    assert found.says == f"{found.label}: {found.missing}"
    assert "unknown" not in found.says
    assert judge(rollout(rng, 4_000), POLICY, LAST).metric("latency_p95").missing == ""


def test_a_user_without_pages_is_met_all_the_same(rng):
    evidence = rollout(rng, ENOUGH)
    verdict = judge(replace(evidence, pages=with_sums(evidence.pages, pages=0.0, posts=0.0)), POLICY, LAST)
    assert verdict.metric("engagement").decision == "no_worse"
    assert verdict.metric("disliked").decision == "no_data"


def test_losses_are_paired_so_small_differences_show(rng):
    verdict = judge(replace(rollout(rng, 3_000), losses=paired(rng, 3_000, 0.03)), POLICY, EARLIER)
    assert verdict.decision == "rollback"


def test_a_ruined_release_is_seen_by_a_handful_of_users(rng):
    """With bounds tuned for small harms alone, 129 users who all got posts that nobody opens were not enough."""
    verdict = judge(rollout(rng, 260, engagement=0.05), POLICY, EARLIER)
    assert verdict.metric("engagement").decision == "worse", verdict.reasons
    assert verdict.decision == "rollback"


def test_the_last_step_waits_a_while_for_heads_whose_labels_are_still_on_their_way(rng):
    evidence = replace(rollout(rng, ENOUGH), losses=no_losses())
    early = judge(evidence, POLICY, Place(last=True, step_s=HOURS, left_s=23 * HOURS))
    assert early.decision == "inconclusive"
    assert early.reasons[-1] == "no head has enough positives yet; the last step waits for them"
    late = judge(evidence, POLICY, Place(last=True, step_s=12 * HOURS, left_s=12 * HOURS))
    assert late.decision == "promote", late.reasons


def test_predictions_that_are_ruined_are_seen_before_the_canary_has_many_users(rng):
    """Both releases predict for everybody's pages, so a step of one per cent is enough to see it."""
    evidence = rollout(rng, 400, shares=(0.01,), log_loss=0.5)
    assert users_by_step(evidence.requests, 1)[0, 1] < POLICY.min_users_to_roll_back
    verdict = judge(evidence, POLICY, EARLIER)
    assert verdict.decision == "rollback", verdict.reasons
    assert judge(rollout(rng, 400, shares=(0.01,)), POLICY, EARLIER).decision == "inconclusive"
