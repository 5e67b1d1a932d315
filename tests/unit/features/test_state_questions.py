"""States that answer questions are kept, however they come in parts, and few others."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.aggregates.state_questions import StateQuestions
from feature_repo.as_of import last_before

MOMENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20)), max_size=40)


@given(MOMENTS.map(lambda pairs: sorted(set(pairs))), MOMENTS, st.lists(st.integers(0, 40), max_size=4))
def test_what_is_kept_answers_every_question_as_all_states_do(held, asked, cuts):
    ids, at_us = (np.array([pair[place] for pair in held], np.int64) for place in (0, 1))
    states = np.arange(len(held), dtype=np.float32).reshape(-1, 1)
    of, when = (np.array([pair[place] for pair in asked], np.int64) for place in (0, 1))
    edges = sorted({0, len(held), *(min(cut, len(held)) for cut in cuts)})
    parts = [(ids[a:b], at_us[a:b], states[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    kept = list(StateQuestions(of, when).answering(parts))
    if not kept:
        assert (last_before(ids, at_us, of, when) < 0).all() if len(ids) else True
        return
    kept_ids, kept_at, kept_states = (np.concatenate(columns) for columns in zip(*kept, strict=True))
    expected, found = last_before(ids, at_us, of, when), last_before(kept_ids, kept_at, of, when)
    assert ((expected < 0) == (found < 0)).all()
    assert (states[expected[expected >= 0]] == kept_states[found[found >= 0]]).all()
    assert len(kept_ids) <= len(asked) + sum(len(part[0]) > 0 for part in parts) * len(set(of.tolist()))
