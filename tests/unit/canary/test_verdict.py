"""Verdicts survive the ledger, also those that an earlier version wrote."""

from __future__ import annotations

import math

import numpy as np

from monitoring.canary.judge import JudgePolicy, Place, judge
from monitoring.canary.verdict import Verdict, verdict_in
from tests.unit.canary.rollout_tables import rollout

BEFORE_SCALES = {
    "decision": "promote",
    "metrics": [
        {
            "name": "ndcg", "label": "NDCG", "role": "guards", "better": "higher", "control": 0.6, "treatment": 0.61,
            "difference": 0.01, "low": None, "high": 0.03, "null": 0.0, "limit": -0.03, "decision": "no_worse",
            "control_users": 300, "treatment_users": 280, "alpha": 0.005, "unit": "score", "cones": 3,
        }
    ],
    "reasons": ["NDCG is no worse"],
    "samples": {"control_users": 300},
}  # fmt: skip


def test_a_verdict_survives_the_ledger():
    verdict = judge(rollout(np.random.default_rng(2), 300), JudgePolicy.default(), Place(False, 3_600.0, 3_600.0))
    kept = verdict.to_dict()
    assert Verdict.from_dict(kept).to_dict() == kept
    assert verdict_in({"since_us": 3, "verdict": kept}).decision == verdict_in(kept).decision == verdict.decision
    assert verdict_in({"since_us": 3, "verdict": None}) is None


def test_a_verdict_of_an_earlier_version_is_read_without_what_it_did_not_know():
    verdict = Verdict.from_dict(BEFORE_SCALES)
    ndcg = verdict.metric("ndcg")
    assert (verdict.decision, ndcg.difference, ndcg.scale, ndcg.powered) == ("promote", 0.01, "absolute", False)
    assert math.isnan(ndcg.low) and math.isnan(ndcg.detectable)
