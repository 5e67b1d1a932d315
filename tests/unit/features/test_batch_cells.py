"""The batch engine against the definition of a cell, event by event."""

from __future__ import annotations

import ibis
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from feature_repo.aggregates.batch_cells import cells_as_of, cells_at, to_cells
from feature_repo.aggregates.cell_sums import BLOCK_US
from feature_repo.aggregates.cells import BUCKET_US, SPANS_US, faded_at
from feature_repo.aggregates.families import FAMILIES, FAMILY_OF, Family
from feature_repo.aggregates.measures import DAY_US, HOUR_US, MEASURE_INDEX
from tests.catalogue_events import NOW_US, catalogue_events
from tests.closed_formula import assert_same_cells, remembered

pytestmark = pytest.mark.slow  # each test runs the batch engine

USER = FAMILY_OF["user"]


def batch_cells(events: pl.DataFrame, family: Family, moment_us: int) -> np.ndarray:
    return to_cells(cells_as_of(ibis.memtable(events.to_arrow()), family, moment_us).to_pyarrow())


def answers(events: pl.DataFrame, questions: pl.DataFrame, family: Family) -> pl.DataFrame:
    """Rows of `cells_at`, sorted."""
    found = cells_at(ibis.memtable(events.to_arrow()), ibis.memtable(questions.to_arrow()), family).to_pyarrow()
    return pl.from_arrow(found).sort("a", "b", "as_of_us", "measure")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_equals_the_definition_at_the_moment_and_later(family):
    events = catalogue_events()
    cells, expected = batch_cells(events, family, NOW_US), remembered(events, family, NOW_US)
    for later in (0, 90_000_000, 5 * HOUR_US, 30 * DAY_US):
        assert_same_cells(cells, expected, NOW_US + later)


def test_an_event_at_the_moment_itself_and_all_after_it_do_not_count():
    events = catalogue_events()
    moment = int(events["at"].sort()[400])
    assert (events["at"] >= moment).sum() > 100
    cells = batch_cells(events, USER, moment)
    assert_same_cells(cells, remembered(events.filter(pl.col("at") < moment), USER), moment)
    assert cells["newest_us"].max() < moment


def test_no_events_leave_no_cells():
    assert len(batch_cells(catalogue_events().clear(), USER, NOW_US)) == 0


def test_the_ring_covers_the_bucket_of_the_moment_and_four_before_it():
    length = int(BUCKET_US[0])
    moment = NOW_US // length * length  # the first microsecond of its bucket: four whole buckets and none of its own
    ages = [1, 4 * length, 4 * length + 1, 5 * length]
    events = catalogue_events(len(ages), users=1).with_columns(
        at=moment - pl.Series(ages), action=pl.lit("click"), product=pl.lit("for_you")
    )
    (cell,) = batch_cells(events, USER, moment)
    assert cell["total"] == 4
    assert cell["ring"][0].sum() == 2


def test_distinct_counts_people_and_topics_once_however_often_they_are_met():
    events = catalogue_events(6, users=1).with_columns(
        action=pl.lit("click"),
        product=pl.lit("for_you"),
        author_id=pl.Series([7, 7, 8, 8, 9, 9]),
        topic=pl.Series([0, 0, 1, -1, -1, -1], dtype=pl.Int32),
    )
    (cell,) = batch_cells(events, USER, NOW_US)
    assert cell["distinct"].tolist() == [3, 2]


@pytest.mark.parametrize("name", ["user", "topic", "user_author", "post_hour"])
def test_each_question_is_answered_as_of_its_own_moment(name):
    family, events = FAMILY_OF[name], catalogue_events(300, seed=3)
    questions = questions_about(events, family)
    cells = to_cells(answers(events, questions, family).to_arrow())
    rows = answers(events, questions, family)
    answered = 0
    for a, b, now_us in questions.unique().iter_rows():
        expected = {key: one for key, one in remembered(events, family, now_us).items() if key[:2] == (a, b)}
        mine = (rows["a"] == a) & (rows["b"] == b) & (rows["as_of_us"] == now_us)
        assert_same_cells(cells[mine.to_numpy()], expected, now_us)
        answered += len(expected)
    assert answered == len(cells) > 0


def questions_about(events: pl.DataFrame, family: Family) -> pl.DataFrame:
    """(a, b, now_us): some keys at moments on and beside their events, on block edges, one of them twice; one unknown key."""
    keys = list(dict.fromkeys(key[:2] for key in remembered(events, family)))[:4]
    moments = [NOW_US, NOW_US // BLOCK_US * BLOCK_US, NOW_US // BLOCK_US * BLOCK_US - 1, *events["at"][:3].to_list()]
    asked = [(a, b, moment) for a, b in keys for moment in moments]
    return pl.DataFrame([*asked, asked[0], (987_654, 0, NOW_US)], schema=["a", "b", "now_us"], orient="row")


@pytest.mark.parametrize("name", ["user", "topic"])
def test_an_event_planted_in_the_future_moves_no_answer(name):
    family, events = FAMILY_OF[name], catalogue_events(200, seed=5)
    moment = int(events["at"].sort()[150])
    questions = pl.DataFrame({"a": [0, 1, 2], "b": [0, 0, 0], "now_us": [moment] * 3})
    planted = events.head(20).with_columns(  # on the moment itself and soon after, of authors that nobody met before
        at=moment + pl.int_range(20),
        author_id=pl.lit(77, pl.Int64),
        user_id=pl.int_range(20) % 3,
        topic=pl.lit(1, pl.Int32),
    )
    before = answers(events, questions, family)
    assert before.height > 0
    assert_frame_equal(answers(pl.concat([events, planted]), questions, family), before, rel_tol=1e-12)
    after = questions.with_columns(now_us=pl.lit(moment + DAY_US))
    assert answers(pl.concat([events, planted]), after, family)["total"].sum() > before["total"].sum()


def test_blocks_fit_into_the_buckets_of_long_windows_and_short_windows_do_not_reach_them():
    for length, span in zip(BUCKET_US.tolist(), SPANS_US.tolist(), strict=True):
        assert length % BLOCK_US == 0 or span < BLOCK_US


def test_an_action_outside_the_closed_set_is_named_and_refused():
    events = catalogue_events(50).with_columns(action=pl.lit("yodel"))
    with pytest.raises(ValueError, match="yodel"):
        batch_cells(events, USER, NOW_US)


def test_sums_keep_their_precision_years_after_the_landmark():
    events = catalogue_events(2, users=1).with_columns(
        action=pl.lit("like"), product=pl.lit("for_you"), at=pl.Series([NOW_US - 4_000 * DAY_US, NOW_US - 1])
    )
    (cell,) = batch_cells(events, USER, NOW_US)
    assert cell["measure"] == MEASURE_INDEX["like"]
    np.testing.assert_allclose(faded_at(cell, NOW_US), 1.0 + 2.0 ** (-4_000 * DAY_US / SPANS_US), rtol=1e-7)
