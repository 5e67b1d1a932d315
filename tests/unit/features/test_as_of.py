"""The as-of search against the definition, on random logs with ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo import as_of
from feature_repo.as_of import last_before

PAIR = st.tuples(st.integers(-3, 3), st.integers(0, 6))


@pytest.fixture(scope="module", params=[1, as_of.MANY], ids=["sorted questions", "questions as they come"])
def many(request):
    """From how many questions on they are sorted."""
    patch = pytest.MonkeyPatch()
    patch.setattr(as_of, "MANY", request.param)
    yield
    patch.undo()


@pytest.mark.usefixtures("many")
@given(log=st.lists(PAIR, max_size=30), questions=st.lists(PAIR, min_size=1, max_size=20))
def test_it_finds_the_newest_row_of_the_key_strictly_before_the_moment(log, questions):
    log = sorted(log)
    found = last_before(*_columns(log), *_columns(questions))
    for (key, moment), row in zip(questions, found.tolist(), strict=True):
        before = [index for index, (other, time) in enumerate(log) if other == key and time < moment]
        assert row == (before[-1] if before else -1)


def _columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
