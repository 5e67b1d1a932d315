"""Figures of an evaluation against their definitions, on rows small enough to reason about."""

import numpy as np
import pytest

from feature_repo.feature_rows import HEADS
from flows.evaluation.figures import NDCG, figures
from flows.evaluation.lists import gini, list_figures
from flows.evaluation.tables import evaluation_tables
from flows.training.evaluate import auc, expected_calibration_error, ndcg, user_days
from tests.synthetic_rows import synthetic_rows

JUDGED = HEADS[:4]  # the most common ones of `synthetic_rows`


@pytest.fixture(scope="module")
def rows():
    return synthetic_rows(3_000, seed=4, users=150)


@pytest.fixture(scope="module")
def truth(rows):
    """Probabilities that carry signal: labels, blurred."""
    random = np.random.default_rng(1)
    return np.clip(0.3 * rows.labels + 0.7 * random.random(rows.labels.shape), 0.01, 0.99).astype(np.float32)


@pytest.fixture(scope="module")
def found(rows, truth):
    noise = np.random.default_rng(2).random(truth.shape).astype(np.float32)
    models = {"good": truth, "noise": noise, "copy": truth.copy()}
    return figures(models, models, rows, user_days(rows), main="good", draws=60, seed=3)


@pytest.mark.parametrize("head", JUDGED)
def test_values_are_those_of_the_metrics_and_lie_in_their_intervals(found, rows, truth, head):
    index = HEADS.index(head)
    p, y = truth[:, index].astype(np.float64), rows.labels[:, index].astype(np.float64)
    told = found["models"]["good"][head]
    assert told["auc"]["value"] == auc(p, y)
    assert told["ece"]["value"] == expected_calibration_error(p, y)
    assert told[NDCG]["value"] == ndcg(p, y, user_days(rows))
    for key in ("auc", "log_loss", NDCG):
        assert told[key]["low"] <= told[key]["value"] <= told[key]["high"]


def test_differences_are_paired(found):
    assert all(d == {"difference": 0.0, "low": 0.0, "high": 0.0} for d in found["differences"]["copy"]["click"].values())
    lead = found["differences"]["noise"]["click"]["auc"]
    assert 0 < lead["low"] < lead["difference"] < lead["high"]


def test_a_perfectly_calibrated_model_shows_about_the_floor(rows):
    random = np.random.default_rng(5)
    p = random.random((len(rows), len(HEADS))).astype(np.float32)
    drawn = type(rows)(**{**vars(rows), "labels": (random.random(p.shape) < p).astype(np.uint8)})
    told = figures({"m": p}, {"m": p}, drawn, user_days(rows), main="m", draws=2, seed=1)
    told = told["models"]["m"][told["judged_heads"][0]]
    assert told["ece"]["value"] == pytest.approx(told["ece_floor"], rel=0.6)
    assert told["ece_floor"] > 0


def test_what_is_not_defined_is_none(rows):
    labels = np.zeros_like(rows.labels)
    nothing = type(rows)(**{**vars(rows), "labels": labels})
    p = np.full(labels.shape, 0.5, np.float32)
    models = {"m": p, "n": p}
    told = figures(models, models, nothing, user_days(rows), main="m", draws=2, seed=1)
    assert told["models"]["m"]["click"]["auc"] is None
    assert told["models"]["m"]["click"][NDCG] is None
    assert (told["judged_heads"], told["differences"]["n"]) == ([], {})


def test_lists_take_the_ten_best_of_every_user_day(rows, truth):
    group = user_days(rows)
    told = list_figures({"m": truth}, rows, group, {})["m"]
    assert 0 < told["coverage"] <= 1 and told["novelty_bits"] == 0.0  # before the first exposure every post is all there is
    assert list_figures({"m": truth}, rows, np.zeros(len(rows), np.int64), {})["m"]["coverage"] <= 10 / len(
        np.unique(rows.post_id)
    )
    rare, common = ({int(post): count for post in np.unique(rows.post_id)} for count in (1, 1_000))
    common[-1] = 10_000_000  # a post that nobody lists has most exposures: the others are news
    assert (
        list_figures({"m": truth}, rows, group, common)["m"]["novelty_bits"]
        > list_figures({"m": truth}, rows, group, rare)["m"]["novelty_bits"]
    )


@pytest.mark.parametrize(("counts", "value"), [([1, 1, 1, 1], 0.0), ([0, 0, 0, 8], 0.75), ([0, 0], 0.0), ([1, 3], 0.25)])
def test_gini_by_hand(counts, value):
    assert gini(np.array(counts)) == pytest.approx(value)


def test_tables_hold_every_head_and_model(found):
    lists = {name: {"coverage": 1.0, "novelty_bits": 2.0, "author_gini": 0.5} for name in found["models"]}
    report = {
        "exposures": "x.parquet",
        "rows": 3,
        "users": 2,
        "first": "a",
        "last": "b",
        "state": "live",
        "model": {"name": "good"},
        "lists": lists,
        **found,
    }
    heads, differences, shown = evaluation_tables(report)
    assert heads.row_count == len(JUDGED) * 3
    assert differences.row_count == len(JUDGED) * 2
    assert shown.row_count == 3
