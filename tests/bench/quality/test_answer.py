"""The figures, the intervals and the table of a contest, wins and losses alike."""

from __future__ import annotations

import numpy as np
import pytest

from flows.training.evaluate import auc
from infra.settings import Settings
from tests.bench.quality.contest import Outcome
from tests.bench.quality.differences import differences, weighted_auc
from tests.bench.quality.figures import SUSPECTED_LEAK
from tests.bench.quality.kept import Predicted
from tests.bench.quality.measured_heads import MEASURED, measured_labels
from tests.bench.quality.quality import answer
from tests.bench.quality.quality_rows_of import small_rows
from tests.bench.quality.report import BEGIN, END, markdown, verdicts, write_into
from tests.bench.quality.roster import roster


@pytest.fixture(scope="module")
def rows():
    return small_rows(200, 3_000)


def predicted(rows, skill: float, seed: int) -> Predicted:
    """Probabilities that know the labels as well as `skill` says."""
    random = np.random.default_rng(seed)
    labels = measured_labels(rows.live)
    p = 1 / (1 + np.exp(-(skill * labels + random.normal(0, 1, labels.shape) - 1.5)))
    return Predicted(p.astype(np.float32), p.astype(np.float32), 1.0)


@pytest.fixture(scope="module")
def report(rows):
    outcome = Outcome(
        {
            "LightGBM": [predicted(rows, 0.4, seed) for seed in (1, 2, 3)],
            "heavy ranker": [predicted(rows, 0.8, seed) for seed in (4, 5, 6)],
            "champion": [predicted(rows, 0.0, seed) for seed in (7, 8, 9)],
        },
        {"DIN": "it was ill"},
    )
    made = answer(rows, outcome, roster(Settings()), draws=40, seed=1)
    made["data"]["user_share"] = 1.0
    return {**made, "seeds": [1, 2, 3], "threads": 2, "search": "Tuned."}


def test_a_weighted_auc_is_the_auc_of_the_rows_repeated():
    random = np.random.default_rng(0)
    scores = random.integers(0, 30, 400) / 30.0
    y, weight = random.integers(0, 2, 400).astype(float), random.integers(0, 4, 400)
    order = np.argsort(scores, kind="stable")
    begins = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    repeated = np.repeat(np.arange(400), weight)
    assert weighted_auc(order, begins, y, weight.astype(float)) == pytest.approx(auc(scores[repeated], y[repeated]))
    assert np.isnan(weighted_auc(order, begins, np.ones(400), weight.astype(float)))


def test_figures_are_means_over_the_seeds_with_their_spread(rows, report):
    y = measured_labels(rows.live)[:, 0].astype(float)
    values = [auc(predicted(rows, 0.8, seed).live[:, 0].astype(float), y) for seed in (4, 5, 6)]
    found = report["models"]["heavy ranker"]["heads"]["click"]["auc"]
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["spread"] == pytest.approx(max(values) - min(values))


def test_a_difference_is_that_of_the_means_within_its_interval(report):
    for head in MEASURED:
        found = report["differences"]["heavy ranker"]["LightGBM"][head]["auc"]
        means = [report["models"][name]["heads"][head]["auc"]["mean"] for name in ("heavy ranker", "LightGBM")]
        assert found["difference"] == pytest.approx(means[0] - means[1])
        assert found["low"] < found["difference"] < found["high"]


def test_losses_are_told_like_wins(report):
    told = {(ours, other, head): verdict for ours, other, head, verdict in verdicts(report["differences"])}
    assert told["heavy ranker", "LightGBM", "click"] == "ahead"
    assert told["champion", "LightGBM", "click"] == "behind"
    text = markdown(report)
    assert "**behind**" in text and "DIN not run: it was ill." in text
    assert all(name in text for name in ("LightGBM", "heavy ranker", "champion"))


def test_a_model_compared_with_itself_is_even(rows):
    same = [predicted(rows, 0.5, 1)]
    found = differences({"heavy ranker": same, "LightGBM": same}, rows, ("heavy ranker",), draws=5, seed=0)
    zero = {"difference": 0.0, "low": 0.0, "high": 0.0}
    assert found["heavy ranker"]["LightGBM"]["click"]["auc"] == zero
    assert [one[-1] for one in verdicts(found)] == ["even"] * len(MEASURED)


def test_a_champion_without_an_ensemble_is_said_to_be_the_heavy_ranker(rows, report):
    assert report["notes"] == []
    same = [predicted(rows, 0.5, 1)]
    outcome = Outcome({"heavy ranker": same, "champion": same, "LightGBM": [predicted(rows, 0.4, 2)]})
    made = answer(rows, outcome, roster(Settings()), draws=2, seed=1)
    assert list(made["differences"]) == ["heavy ranker"] and "no bundle holds an ensemble" in made["notes"][0]


def test_a_figure_too_good_to_be_true_raises_the_alarm(rows, report):
    click = report["models"]["heavy ranker"]["heads"]["click"]["auc"]["mean"]
    assert (click > SUSPECTED_LEAK) == any("heavy ranker" in one for one in report["warnings"])
    cheat = Outcome({"heavy ranker": [predicted(rows, 5.0, 1)]})
    warnings = answer(rows, cheat, roster(Settings()), draws=2, seed=1)["warnings"]
    assert warnings and all("LEAK SUSPECTED" in one for one in warnings)


def test_the_table_takes_its_place_in_the_readme_and_nothing_else_moves(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_into("new\n", readme)
    write_into("newer\n", readme)
    assert readme.read_text() == f"before\n{BEGIN}\nnewer\n{END}\nafter\n"


@pytest.mark.parametrize("content", ["no place", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n"])
def test_a_readme_without_a_place_is_left_alone(tmp_path, content):
    readme = tmp_path / "README.md"
    readme.write_text(content)
    with pytest.raises(ValueError, match="no place for the table"):
        write_into("new\n", readme)
    assert readme.read_text() == content
