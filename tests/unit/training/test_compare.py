import numpy as np
import pytest

from feature_repo.feature_rows import HEADS
from flows.training.compare import auc_difference, compare
from tests.synthetic_rows import synthetic_rows


def _metrics(auc: float, positives: int = 500) -> dict:
    return {
        "click": {
            "auc": auc,
            "log_loss": 0.5,
            "normalised_entropy": None,
            "ece": 0.01,
            "ndcg_at_10": 0.8,
            "positives": positives,
        }
    }


def test_markdown_has_a_row_per_model_and_shows_an_undefined_metric_as_a_dash():
    lines = compare({"heavy": _metrics(0.76), "popularity": _metrics(0.67)}).markdown().splitlines()
    assert lines[2] == "| heavy | click | 0.7600 | 0.5000 | - | 0.0100 | 0.8000 |"
    assert len(lines) == 4


def test_a_head_with_a_handful_of_positives_is_not_ranked_in_the_table():
    assert compare({"heavy": _metrics(0.99, positives=3)}).rows() == []


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ValueError, match="nothing to compare"):
        compare({})


def test_interval_of_a_difference_covers_zero_for_equal_models_and_excludes_it_for_a_far_better_one():
    rows = synthetic_rows(2_000)
    random = np.random.default_rng(8)
    blind = random.random(rows.labels.shape)
    seeing = blind + 0.8 * rows.labels
    same = auc_difference(blind, blind, rows.labels, rows.user_id, "click", seed=1, draws=30)
    assert (same.difference, same.low, same.high) == (0.0, 0.0, 0.0)
    better = auc_difference(seeing, blind, rows.labels, rows.user_id, "click", seed=1, draws=30)
    assert better.low > 0.2
    assert better.low < better.difference < better.high


def test_no_difference_where_a_head_has_one_class():
    rows = synthetic_rows(200)
    labels = np.zeros_like(rows.labels)
    assert auc_difference(rows.labels, rows.labels, labels, rows.user_id, HEADS[0], seed=1) is None
