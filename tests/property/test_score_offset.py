"""Laws of the epsilon offset."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from feature_repo.feature_rows import HEADS
from services.ranking.weights import BOUNDS, EPSILON, WeightPreset, contributions, weighted_score

probabilities = arrays(np.float64, st.tuples(st.integers(1, 12), st.just(len(HEADS))), elements=st.floats(0, 1))
presets = st.builds(
    lambda values: WeightPreset("drawn", "drawn by the test", dict(zip(HEADS, values, strict=True))),
    st.tuples(*(st.floats(BOUNDS[head].low, BOUNDS[head].high) for head in HEADS)),
)


@given(probabilities, presets)
@settings(max_examples=200, deadline=None)
def test_scores_are_never_negative_and_keep_the_order_of_the_weighted_sums(p, preset):
    total = contributions(p, preset).sum(1)
    score = weighted_score(p, preset)
    assert (score >= -1e-12).all()
    order = np.argsort(total, kind="stable")
    assert (np.diff(score[order]) >= -1e-9).all()


@given(probabilities, presets)
@settings(max_examples=200, deadline=None)
def test_net_negative_posts_rank_below_every_net_positive_one(p, preset):
    total = contributions(p, preset).sum(1)
    score = weighted_score(p, preset)
    if preset.vector().any():
        assert (score[total < -1e-9] < EPSILON).all()
        assert (score[total > 1e-9] >= EPSILON).all()
