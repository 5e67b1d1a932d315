"""All that a training measured reaches the registry, also what is not measured by head."""

from __future__ import annotations

from flows.train import beyond_heads


def test_retrieval_and_the_light_ranker_stand_beside_the_heads():
    recall = {"recall_at_50": 0.2}
    measured = {
        "light_ranker_auc": 0.75,
        "light_survival": {"survivors": {"light ranker": {"100": 0.7}, "popularity": {"100": 0.1}}},
        "retrieval": {"two_tower": recall, "popularity": {"recall_at_50": 0.1}},
    }
    tables = beyond_heads(measured)
    assert tables["light ranker"] == {"engagement": {"auc": 0.75, "survivors_at_100": 0.7}}
    assert tables["two-tower"] == {"engagement": recall}
    assert tables["most popular"] == {"engagement": {"recall_at_50": 0.1}}


def test_a_gate_that_measured_neither_adds_nothing():
    assert beyond_heads({"metrics": {}}) == {}
