"""Feature rows become a frame with the names that reports show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from feature_repo.feature_rows import BLOCKS, HEADS
from monitoring.drift.frames import drift_frame
from tests.synthetic_rows import synthetic_rows


def _named(n: int):
    rows = synthetic_rows(n)
    return replace(rows, names={block: tuple(f"f{i}" for i in range(rows.blocks[block].shape[1])) for block in BLOCKS})


def test_every_block_column_prediction_and_label_is_there_by_name():
    rows = _named(50)
    probabilities = np.random.default_rng(0).random((50, len(HEADS)))
    frame = drift_frame(rows, probabilities)
    assert frame["user.f3"].to_numpy() == pytest.approx(rows.blocks["user"][:, 3])
    assert frame["prediction_like"].to_numpy() == pytest.approx(probabilities[:, HEADS.index("like")])
    assert frame["label_click"].to_list() == rows.labels[:, 0].tolist()
    assert frame["user_id"].to_list() == rows.user_id.tolist()


def test_rows_that_may_not_be_judged_carry_no_prediction():
    scored = np.arange(50) >= 20
    frame = drift_frame(_named(50), np.full((50, len(HEADS)), 0.5), scored=scored)
    assert frame["prediction_click"].is_null().to_list() == (~scored).tolist()


def test_a_block_without_names_is_refused():
    rows = _named(5)
    with pytest.raises(ValueError, match="block 'post' has 9 columns but 0 names"):
        drift_frame(replace(rows, names={**rows.names, "post": ()}))
