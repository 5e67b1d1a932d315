"""The gate fails closed, with a sentence, where the rows kept out judge no challenger."""

from __future__ import annotations

import numpy as np
import pytest

from flows.retrain import GateFailed, gate
from infra.settings import Settings
from tests.synthetic_rows import synthetic_rows


@pytest.mark.parametrize("rows", [0, 20])
def test_a_challenger_that_nothing_judges_is_not_registered(rows):
    kept_out = synthetic_rows(40, seed=1).take(np.arange(rows))
    with pytest.raises(GateFailed, match=rf"nothing to judge the challenger on: {rows} rows .* not registered"):
        gate.fn("challenger", "champion", kept_out)


def test_a_challenger_that_the_chosen_heads_do_not_judge_is_not_registered(monkeypatch):
    monkeypatch.setattr("flows.retrain.get_settings", lambda: Settings(deciding_heads=("report",)))
    monkeypatch.setattr("feature_repo.ids.own_actions.slots_by_name", lambda table: {})
    with pytest.raises(GateFailed, match=r"none of report \(MIXER_DECIDING_HEADS\) was taken 30 times"):
        gate.fn("challenger", "champion", synthetic_rows(400, seed=1))
