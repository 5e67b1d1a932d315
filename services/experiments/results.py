"""What came of an experiment: the outcomes of both arms, by the metrics and intervals that canaries are judged by."""

from __future__ import annotations

from infra.settings import Settings
from monitoring.canary.judge import Place, Verdict, judge
from monitoring.canary.policy import JudgePolicy, policy_of
from monitoring.outcomes.evidence import Outcomes
from services.experiments.assignment import Experiment

TREATED_SHARE = 0.5  # of an experiment's users
# Which release predicts better is no question here: one release makes the pages of both arms.
UNASKED = ("log_loss",)


def results_of(experiment: Experiment, settings: Settings) -> Verdict:
    """The metrics so far. Nothing is decided by them: people do."""
    evidence = Outcomes(settings.outcomes_url).evidence(experiment.outcome_key, [(0, TREATED_SHARE)])
    return judge(evidence, asked_of(policy_of(settings.judge_policy)), Place(last=True, step_s=0.0, left_s=0.0))


def asked_of(policy: JudgePolicy) -> JudgePolicy:
    """The part of a policy that an experiment can answer."""
    return policy.model_copy(update={"metrics": tuple(one for one in policy.metrics if one.name not in UNASKED)})
