"""Evidence is kept once, however often it is sent."""

from __future__ import annotations

import pytest

from monitoring.canary.evidence import EvidenceStore
from monitoring.canary.visits import VisitEvidence


@pytest.fixture
def store(tmp_path):
    return EvidenceStore(f"sqlite:///{tmp_path}/platform.db")


def visit(release: str, n: int, **changes: object) -> VisitEvidence:
    content = {"rows": 3, "log_loss": {"click": 1.2}, "reference_log_loss": {"click": 1.1}, "ndcg": 0.7, "latency_ms": 12.5}
    return VisitEvidence(release_id=release, user_id=n % 10, request_id=f"q-{n}", at_us=n, **{**content, **changes})


def test_a_visit_that_is_sent_again_changes_nothing(store):
    visits = [visit("r1", n) for n in range(1_200)]
    assert store.add(visits) == 1_200
    assert store.add([visit("r1", n, latency_ms=99.0) for n in range(1_200)]) == 0
    assert store.count("r1") == 1_200
    assert store.load(["r1"])["r1"].latency_ms.max() == 12.5


def test_the_same_request_may_be_judged_for_two_releases(store):
    assert store.add([visit("r1", 1), visit("r2", 1)]) == 2


def test_what_is_loaded_is_what_was_kept(store):
    store.add(
        [visit("r1", 1, ndcg=None, error=False, distinct_author_share=0.9), visit("r1", 2, error=True, rows=0, log_loss={})]
    )
    evidence = store.load(["r1", "r2"])
    assert evidence["r1"].user_id.tolist() == [1, 2]
    assert evidence["r1"].log_loss["click"].tolist() == [1.2, 0.0]
    assert evidence["r1"].errors.tolist() == [0, 1]
    assert evidence["r1"].author_share_sum.tolist() == [0.9, 0.0]
    assert len(evidence["r2"]) == 0


def test_only_visits_since_the_last_step_are_judged(store):
    store.add([visit("r1", n) for n in range(10)])
    assert store.load(["r1"], since_us=6)["r1"].total_visits == 4
    assert store.newest_us(["r1", "r2"]) == 9
    assert store.newest_us(["r2"]) is None


def test_looks_are_kept_in_order(store):
    store.add_look("r2", 5, {"decision": "inconclusive"})
    store.add_look("r2", 9, {"decision": "promote"})
    store.add_look("r3", 7, {"decision": "rollback"})
    assert [(look["at_us"], look["decision"]) for look in store.looks("r2")] == [(5, "inconclusive"), (9, "promote")]
