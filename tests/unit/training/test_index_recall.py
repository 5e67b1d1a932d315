"""Recall of the approximate index on a bundle's own vectors."""

from __future__ import annotations

import numpy as np
import pytest

from flows.training.index_recall import index_recall
from tests.synthetic_rows import synthetic_rows
from tests.unit.ranking.test_bundle import small_bundle


def test_both_indexes_are_asked_over_every_post_that_training_knew():
    train, rows = synthetic_rows(3_000, posts=900), synthetic_rows(200, seed=3, posts=900)
    found = index_recall(small_bundle(), train, rows, seed=1, queries=20)
    assert (found["posts"], found["queries"], found["in_use"]) == (len(np.unique(train.post_id)), 20, "exact")
    recalls = [found[f"recall_at_{depth}"] for depth in (50, 200, 500)]
    assert all(0.9 < recall <= 1.0 for recall in recalls)  # so few posts make fewer lists than are looked at
    assert found["speed_ratio"] > 0
    again = index_recall(small_bundle(), train, rows, seed=1, queries=20)
    assert [again[f"recall_at_{depth}"] for depth in (50, 200, 500)] == recalls


def test_an_index_that_looks_at_one_list_is_seen_to_miss(monkeypatch):
    from services.ranking.retrieval_index import ApproximateIndex

    monkeypatch.setattr(
        "flows.training.index_recall.ApproximateIndex", lambda keys, vectors: ApproximateIndex(keys, vectors, probes=1)
    )
    train, rows = synthetic_rows(3_000, posts=900), synthetic_rows(200, seed=3, posts=900)
    assert index_recall(small_bundle(), train, rows, seed=1, queries=20)["recall_at_200"] < 0.9


def test_without_rows_there_is_nothing_to_ask_with():
    train = synthetic_rows(300)
    with pytest.raises(ValueError, match="test days"):
        index_recall(small_bundle(), train, train.take(np.zeros(0, np.int64)), seed=1)
