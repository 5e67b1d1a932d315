"""Waiting cells behave as a set of row numbers, whatever is added, looked at and removed in whatever order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.aggregates import waiting_cells
from feature_repo.aggregates.waiting_cells import WaitingCells

ROWS = st.lists(st.integers(0, 60), max_size=12, unique=True).map(lambda rows: np.array(rows, np.int64))
STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove"]), ROWS), max_size=20)


@given(STEPS)
def test_they_are_a_set(steps):
    waiting, expected = WaitingCells(), set()
    for step, rows in steps:
        getattr(waiting, step)(rows)
        expected = expected | set(rows.tolist()) if step == "add" else expected - set(rows.tolist())
        assert waiting.rows.tolist() == sorted(expected)
        assert len(waiting) == len(expected)


@given(ROWS, st.integers(1, 7), st.integers(1, 16))
def test_each_is_met_once_when_what_was_met_is_removed(rows, most, looked_at):
    before = waiting_cells._LOOKED_AT
    waiting_cells._LOOKED_AT = looked_at  # the search must go on past stretches without any
    try:
        waiting, met = WaitingCells(), []
        waiting.add(rows)
        while len(some := waiting.some(most)):
            assert len(some) <= most
            assert (np.diff(some) > 0).all()
            met += some.tolist()
            waiting.remove(some)
    finally:
        waiting_cells._LOOKED_AT = before
    assert sorted(met) == sorted(rows.tolist())
    assert len(waiting) == 0
