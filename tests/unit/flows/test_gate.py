"""The gate fails closed, with a sentence, where the rows kept out judge no challenger."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from feature_repo.heads import HEADS
from feature_repo.ids import IdTable
from flows.retrain import GateFailed, gate, worse_than_tolerated
from infra.settings import Settings
from tests.synthetic_rows import synthetic_rows


@pytest.fixture
def settings(monkeypatch, tmp_path) -> Settings:
    """Of a home whose files declared an action of their own, which is to decide."""
    made = Settings(home=tmp_path, deciding_heads=("report", "purchase"))
    made.paths.platform_database.parent.mkdir(parents=True, exist_ok=True)
    IdTable(made.platform_database_url).codes("own_action:liked", pl.Series(["purchase"]))
    monkeypatch.setattr("flows.retrain.get_settings", lambda: made)
    return made


@pytest.mark.parametrize("rows", [0, 20])
def test_a_challenger_that_nothing_judges_is_not_registered(settings, monkeypatch, rows):
    monkeypatch.setattr("flows.retrain.get_settings", lambda: settings.model_copy(update={"deciding_heads": ()}))
    kept_out = synthetic_rows(40, seed=1).take(np.arange(rows))
    with pytest.raises(GateFailed, match=rf"nothing to judge the challenger on: {rows} rows .* not registered"):
        gate.fn("challenger", "champion", kept_out)


def test_a_challenger_that_the_chosen_heads_do_not_judge_is_not_registered(settings):
    with pytest.raises(GateFailed, match=r"none of report, purchase \(MIXER_DECIDING_HEADS\) was taken 30 times"):
        gate.fn("challenger", "champion", synthetic_rows(400, seed=1))


def _probabilities(rows, **shifts: float) -> np.ndarray:
    """The rows' own rates by head, with the log odds of some heads shifted."""
    rates = np.clip(rows.labels.mean(axis=0, dtype=np.float64), 1e-3, 1 - 1e-3)
    odds = np.log(rates / (1 - rates))
    for head, shift in shifts.items():
        odds[HEADS.index(head)] += shift
    return np.tile(1 / (1 + np.exp(-odds)), (len(rows), 1))


def test_a_challenger_may_lose_no_more_than_tolerated_on_any_head_that_decides():
    rows = synthetic_rows(2_000, seed=1)
    champion = _probabilities(rows)
    assert worse_than_tolerated(_probabilities(rows, click=0.05, like=3.0), champion, rows, ("click",)) is None
    worse = worse_than_tolerated(_probabilities(rows, like=3.0), champion, rows, ("click", "like"))
    assert "on 2,000 rows kept out, the challenger's like log loss is" in worse


def test_what_may_be_chance_is_not_held_against_a_challenger():
    """The same loss a row: of a few users it may be chance, of many it is not."""
    many = synthetic_rows(4_000, seed=1)
    few = many.take(np.flatnonzero(np.isin(many.user_id, np.unique(many.user_id)[:3])))
    noise = np.random.default_rng(2).normal(0, 0.8, (len(many), 1))
    odds = {id(rows): np.log(_probabilities(rows) / (1 - _probabilities(rows))) for rows in (many, few)}
    noisy = {id(rows): 1 / (1 + np.exp(-(odds[id(rows)] + noise[: len(rows)]))) for rows in (many, few)}
    assert worse_than_tolerated(noisy[id(many)], _probabilities(many), many, ("click",)) is not None
    assert worse_than_tolerated(noisy[id(few)], _probabilities(few), few, ("click",)) is None


def test_one_judge_or_a_prediction_that_is_no_number_lets_no_challenger_pass():
    rows = synthetic_rows(4_000, seed=1)
    alone = rows.take(np.flatnonzero(rows.user_id == rows.user_id[0]))
    told = worse_than_tolerated(_probabilities(alone), _probabilities(alone), alone, ("click",))
    assert "all rows are of one user" in told
    unknown = np.full_like(_probabilities(rows), np.nan)
    told = worse_than_tolerated(unknown, _probabilities(rows), rows, ("click",))
    assert "a predicted probability of click is no number" in told
