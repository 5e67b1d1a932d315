"""What counts as a mismatch, what is left out, and which feature is named."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from feature_repo.recomputation.vector_pairs import RANKING, VectorPairs
from monitoring.consistency.mismatch import beyond_tolerance, compare_pairs
from monitoring.consistency.report import ConsistencyReport, ServedFeaturesDiffer, latest_report, write_report

NAMES = ("f.click.total", "f.like.total", "f.like.rate.7d")


def pairs(served, recomputed, family="user_author", in_flight=None, behind=None) -> VectorPairs:
    served, recomputed = np.array(served, np.float32), np.array(recomputed, np.float32)
    none = np.zeros(len(served), bool)
    keys = tuple(f"user_id {row}" for row in range(len(served)))
    return VectorPairs(
        family,
        NAMES,
        keys,
        served,
        recomputed,
        none if in_flight is None else np.array(in_flight),
        none if behind is None else np.array(behind),
    )


def report(*found) -> ConsistencyReport:
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    return ConsistencyReport(at, "a <small> world", 0.01, tuple(compare_pairs(one) for one in found))


def test_rounding_is_no_mismatch_and_a_missing_value_is_one():
    assert not beyond_tolerance(np.array([1e6, 0.0]), np.array([1e6 + 1, 1e-5])).any()
    assert beyond_tolerance(np.array([1.0, np.nan, np.inf]), np.array([1.01, 1.0, 1.0])).all()
    assert not beyond_tolerance(np.array([np.nan]), np.array([np.nan])).any()


def test_the_feature_that_differs_most_often_is_named_with_its_furthest_key():
    truth = np.ones((10, 3))
    served = truth.copy()
    served[2, 1] = 900.0  # once, and far
    served[[4, 5], 2] = 2.0, 3.0
    found = compare_pairs(pairs(served, truth))
    assert (found.judged, found.differing) == (10, 3)
    assert found.share_of_vectors == pytest.approx(0.3)
    assert found.share_of_values == pytest.approx(3 / 30)
    assert [one.name for one in found.worst] == ["f.like.rate.7d", "f.like.total"]
    assert (found.worst[0].key, found.worst[0].served) == ("user_id 5", 3.0)
    assert "worst feature f.like.rate.7d (user_id 5: served 3, recomputed 1)" in found.headline


def test_a_vector_in_flight_is_not_judged_and_one_that_lacks_events_differs():
    truth = np.ones((4, 3))
    found = compare_pairs(
        pairs(truth * [[9], [1], [1], [1]], truth, in_flight=[True, False, False, False], behind=[True, True, False, False])
    )
    assert (found.sampled, found.in_flight, found.judged) == (4, 1, 3)
    assert (found.differing, found.behind) == (1, 1)
    assert found.worst == ()


def test_nothing_to_judge_is_no_failure_and_is_said():
    one = pairs(np.ones((2, 3)), np.zeros((2, 3)), in_flight=[True, True])
    checked = report(one)
    checked.require()
    assert checked.judged == 0
    assert checked.families[0].share_of_vectors == 0.0


def test_the_check_fails_by_family_beyond_the_bound_only(tmp_path):
    truth = np.ones((200, 3))
    served = truth.copy()
    served[:2] = 2.0  # 1 %: at the bound
    few, many = pairs(served, truth, "post"), pairs(truth * 2, truth, RANKING + "user")
    report(few).require()
    failed = report(few, many)
    with pytest.raises(ServedFeaturesDiffer, match=r"ranking\.user: 200 of 200 vectors differ") as raised:
        failed.require()
    assert "post" not in str(raised.value)
    page = write_report(failed, tmp_path).read_text()
    assert "a &lt;small&gt; world" in page
    assert "ranking.user: 200 of 200 vectors differ" in page
    assert latest_report(tmp_path)["passed"] is False
    assert latest_report(tmp_path / "elsewhere") is None
