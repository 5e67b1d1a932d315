"""The gate fails closed, with a sentence, where the rows kept out judge no challenger."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

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


def test_a_challenger_may_lose_no_more_than_the_noise_on_any_head_that_decides():
    champion = {"click": {"log_loss": 0.5}, "own_5": {"log_loss": 0.1}, "like": {"log_loss": 0.2}}
    challenger = {"click": {"log_loss": 0.504}, "own_5": {"log_loss": 0.12}, "like": {"log_loss": 0.9}}
    assert worse_than_tolerated(challenger, champion, ("click",), 40) is None
    assert "the challenger's own_5 log loss is 0.0200 above" in worse_than_tolerated(
        challenger, champion, ("click", "own_5"), 40
    )
