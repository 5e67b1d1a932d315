"""Posts prepared once for a moment, beside the dense computation on that moment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from feature_repo.blocks import States
from feature_repo.request_rows import candidate_rows
from services.ranking.prepared_posts import LookedUp
from tests.drawn_posts import AS_OF_US, drawn_bundle, drawn_snapshot, stored_user

MOMENT_US = AS_OF_US + 3_600_000_000
ASKED_US = MOMENT_US + 42_000_000  # the request's own moment, within the tick


KINDS = {"heavy alone": {}, "ensemble": {"ensemble": True}, "two members": {"members": 2}}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def bundle(request):
    return drawn_bundle(drawn_snapshot(), **request.param)


def _asked(bundle, at: np.ndarray):
    snapshot = drawn_snapshot()
    prepared = bundle.prepare(snapshot, MOMENT_US)
    user = stored_user().at(ASKED_US)
    return candidate_rows(user, snapshot, at, "for_you", ASKED_US, prepared.blocks), LookedUp(prepared, at)


def test_looked_up_probabilities_are_those_of_the_dense_computation_on_the_ticks_moment(bundle):
    rows, looked_up = _asked(bundle, np.arange(-1, 60))  # a post that the snapshot does not hold is scored too
    np.testing.assert_allclose(bundle.predict(rows, looked_up), bundle.predict(rows), atol=1e-5)
    np.testing.assert_allclose(bundle.light_score(rows, looked_up), bundle.light_score(rows), atol=1e-5)


def test_asked_in_parts_under_one_encoded_context_they_are_the_same_bit_for_bit(bundle):
    at = np.arange(-1, 60)
    rows, looked_up = _asked(bundle, at)
    whole = bundle.predict(rows, looked_up)
    context = bundle.encode(rows)
    for part in (np.arange(0, 61, 7), np.array([3]), np.arange(60, -1, -1)):
        apart = bundle.predict(rows.take(part), looked_up.take(part), context)
        np.testing.assert_array_equal(apart, whole[part])


def test_the_ensemble_has_a_say_in_what_is_looked_up():
    stacked = drawn_bundle(drawn_snapshot(), ensemble=True)
    rows, looked_up = _asked(stacked, np.arange(60))
    final, heavy = stacked.predict(rows, looked_up), stacked.heavy_predict(rows, looked_up)
    assert np.abs(final[:, :2] - heavy[:, :2]).max() > 0.01
    np.testing.assert_array_equal(final[:, 2:], heavy[:, 2:])


def test_posts_that_are_added_are_prepared_as_if_they_had_been_there(bundle):
    first, later = drawn_snapshot(), drawn_snapshot(posts=5, seed=9, first_id=5_000)
    later = replace(later, topic=np.full(5, -1, np.int32), states={**later.states, "topic": States.empty(5)})
    whole = bundle.prepare(first.with_posts(later), MOMENT_US)
    joined = bundle.prepare(first, MOMENT_US).with_posts(bundle.prepare(later, MOMENT_US))
    assert len(joined) == len(whole) == 66
    for mine, expected in zip(joined.heavy, whole.heavy, strict=True):
        np.testing.assert_allclose(mine.hidden, expected.hidden, atol=1e-5)
        np.testing.assert_array_equal(mine.items, expected.items)
    np.testing.assert_allclose(joined.light, whole.light, atol=1e-5)


def test_a_ranker_without_a_compiled_form_reads_the_rows_of_the_moment(bundle):
    rows, looked_up = _asked(bundle, np.arange(60))
    dense = replace(bundle)
    dense.__dict__["_compiled"] = None  # as for a design that only torch takes
    prepared = dense.prepare(drawn_snapshot(), MOMENT_US)
    assert prepared.heavy is None
    found = dense.predict(rows, LookedUp(prepared, looked_up.row))
    np.testing.assert_allclose(found, bundle.predict(rows, looked_up), atol=1e-5)
    assert dense.encode(rows) is None


def test_many_posts_are_prepared_in_passes_to_the_same_values(bundle, monkeypatch):
    whole = bundle.prepare(drawn_snapshot(), MOMENT_US)
    monkeypatch.setattr("services.ranking.prepared_posts.ROWS_AT_ONCE", 16)
    parts = bundle.prepare(drawn_snapshot(), MOMENT_US)
    np.testing.assert_allclose(parts.heavy[0].hidden, whole.heavy[0].hidden, atol=1e-6)
    np.testing.assert_allclose(parts.light, whole.light, atol=1e-6)
