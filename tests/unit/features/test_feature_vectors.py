"""Feature vectors against their definition, worked out of raw events one by one."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.aggregates.beliefs import MEANS_S, RATES
from feature_repo.aggregates.catalogue import Feature, catalogue, features_of
from feature_repo.aggregates.cell_rows import CellRows, KeyedCells, dense_cells
from feature_repo.aggregates.cells import CELL, SPANS_US, empty_cells
from feature_repo.aggregates.families import FAMILIES, FAMILY_OF
from feature_repo.aggregates.features import FeatureSelection, feature_vectors, whole
from feature_repo.aggregates.measures import DAY_US, HOUR_US, MEASURE_INDEX, MEASURES, MINUTE_US, WINDOWS
from tests.closed_formula import Key, Remembered, remembered
from tests.remembered_cells import packed_cells
from tests.small_events import START, small_events, small_posts

START_US = int(START.timestamp() * 1_000_000)
SOME_FAMILIES = ("user", "post", "author", "topic", "user_author", "user_topic", "topic_hour", "user_product")
NOTHING = Remembered()


@cache
def memories(family: str, until_us: int | None = None) -> dict[Key, Remembered]:
    """What small seeded events leave in a family."""
    topics = small_posts().select("post_id", topic="topics").explode("topic", empty_as_null=True).fill_null(-1)
    events = small_events(exposures=150).join(topics, on="post_id", how="left")
    return remembered(events.rename({"occurred_at": "at"}).cast({"at": int}), FAMILY_OF[family], until_us)


def keys_of(family: str, until_us: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    keys = sorted({(a, b) for a, b, _ in memories(family, until_us)})
    return np.array([a for a, _ in keys]), np.array([b for _, b in keys])


def rows_of(cells: np.ndarray, keys_a: np.ndarray, keys_b: np.ndarray | int = 0) -> CellRows:
    keyed = KeyedCells(cells)
    return keyed.rows(keyed.find(keys_a, keys_b))


def by_definition(feature: Feature, key: tuple[int, int], now_us: int, until_us: int | None = None) -> float:
    """The value of a feature out of the events themselves."""
    told = memories(feature.family, until_us)

    def of(measure: str) -> Remembered:
        return told.get((*key, measure), NOTHING)

    def both(action: str) -> float:
        undated = of(f"undated_{action}").total if feature.measure in ("like", "video_view") else 0
        return of(action).total + undated

    own, seen, window = of(feature.measure), of("impression"), _window(feature.window)
    action = feature.measure.removesuffix("_s")
    prior = RATES.get(feature.measure.removeprefix("undated_"), 0.0)
    match feature.statistic:
        case "count" | "sum":
            return own.fading(now_us)[window]
        case "sliding":
            return own.sliding(now_us)[window]
        case "total":
            return own.total
        case "since_s":
            return (now_us - own.newest_us) / 1e6 if own.amounts else -1.0
        case "rate":
            return (own.fading(now_us)[window] + 5 * prior) / (seen.fading(now_us)[window] + 5)
        case "sliding_rate":
            return (own.sliding(now_us)[window] + 5 * prior) / (seen.sliding(now_us)[window] + 5)
        case "lifetime_rate" if feature.measure.startswith("undated"):
            return (own.total + 5 * prior) / (of("undated_impression").total + 5)
        case "lifetime_rate":
            return (both(feature.measure) + 5 * prior) / (both("impression") + 5)
        case "trend":
            counts, share = own.fading(now_us), SPANS_US[window] / SPANS_US[window + 1]
            return (counts[window] + 1) / (counts[window + 1] * share + 1)
        case "mean":
            return (own.fading(now_us)[window] + MEANS_S[feature.measure]) / (of(action).fading(now_us)[window] + 1)
        case "lifetime_mean":
            return (own.total + MEANS_S[feature.measure]) / (of(action).total + 1)
        case "distinct_users" | "distinct_authors" | "distinct_topics":
            pairs = FAMILY_OF[feature.family].distinct
            plural = feature.statistic.removeprefix("distinct_")
            place = next(place for place, pair in enumerate(pairs) if plural.rstrip("s") in pair.replace(feature.family, ""))
            return len(own.met[place])
    raise AssertionError(f"no definition of {feature.statistic}")


def _window(name: str | None) -> int:
    return -1 if name is None else [window.name for window in WINDOWS].index(name)


@pytest.mark.parametrize("family", SOME_FAMILIES)
def test_every_feature_is_what_its_events_make_it(family):
    now_us = START_US + 4 * DAY_US + 7 * HOUR_US
    a, b = (ids[:6] for ids in keys_of(family))
    vectors = feature_vectors(family, dense_cells(a, b, packed_cells(memories(family))), now_us)
    keys = list(zip(a.tolist(), b.tolist(), strict=True))
    expected = [[by_definition(feature, key, now_us) for feature in features_of(family)] for key in keys]
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, rtol=2e-6, atol=1e-12)


def test_features_as_of_a_moment_within_the_events():
    now_us = START_US + 2 * DAY_US
    a, b = keys_of("user_author", now_us)
    rows = rows_of(packed_cells(memories("user_author", now_us)), a, b)
    selection = FeatureSelection.matching("user_author", measures=("impression", "click", "dwell_s"))
    vectors = selection.vectors(rows, now_us)
    for row in range(0, len(a), 9):
        key = (int(a[row]), int(b[row]))
        expected = [by_definition(feature, key, now_us, now_us) for feature in selection.features]
        np.testing.assert_allclose(vectors[row], expected, rtol=2e-6, atol=1e-12)


def test_each_key_may_have_a_moment_of_its_own():
    a, b = keys_of("user")
    rows = rows_of(packed_cells(memories("user")), a, b)
    moments = START_US + 4 * DAY_US + np.arange(len(a)) * 5 * HOUR_US
    together = whole("user").vectors(rows, moments)
    for row, now_us in enumerate(moments.tolist()):
        np.testing.assert_array_equal(together[row : row + 1], whole("user").vectors(rows.take(np.array([row])), now_us))


def test_more_keys_than_are_gathered_at_once():
    a, b = keys_of("post")
    rows = rows_of(packed_cells(memories("post")), a, b)
    many = np.arange(10_000) % len(a)
    now_us = START_US + 5 * DAY_US
    selection = FeatureSelection.of(["post.click.rate.24h", "post.impression.sliding.7d"])
    once = selection.vectors(rows, now_us)
    np.testing.assert_array_equal(selection.vectors(rows.take(many), now_us), once[many])
    moments = np.full(10_000, now_us)
    np.testing.assert_array_equal(selection.vectors(rows.take(many), moments), once[many])


def test_keys_that_repeat_or_were_never_seen_are_worked_out_once_and_spread():
    a, b = keys_of("user_author")
    keyed = KeyedCells(packed_cells(memories("user_author")))
    asked = np.random.default_rng(1).integers(-20, len(a), 300)
    keys_a, keys_b = np.where(asked < 0, 55_555 + asked, a[asked]), np.where(asked < 0, 3, b[asked])
    now_us = START_US + 4 * DAY_US
    selection = FeatureSelection.matching("user_author", statistics=("rate", "sliding", "since_s"))
    row_by_row = selection.vectors(keyed.rows(keyed.find(keys_a, keys_b)), now_us)
    np.testing.assert_array_equal(selection.vectors_of(keyed, keys_a, keys_b, now_us), row_by_row)
    np.testing.assert_array_equal(row_by_row[asked < 0], np.repeat(selection.cold()[None], (asked < 0).sum(), axis=0))


def test_a_key_never_seen_has_no_events_and_the_declared_beliefs():
    cold = dict(zip(whole("user").names, whole("user").cold().tolist(), strict=True))
    assert cold["user.click.count.24h"] == cold["user.click.sliding.24h"] == cold["user.dwell_s.total"] == 0
    assert cold["user.click.since_s"] == -1
    assert cold["user.click.rate.5m"] == cold["user.click.lifetime_rate"] == pytest.approx(RATES["click"])
    assert cold["user.dwell_s.mean.7d"] == MEANS_S["dwell_s"]
    assert cold["user.like.trend.2h"] == 1
    assert cold["user.like.distinct_authors"] == 0
    unknown = rows_of(packed_cells(memories("user")), np.array([987_654]))
    np.testing.assert_array_equal(whole("user").vectors(unknown, START_US), [whole("user").cold()])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_moment_before_the_newest_event_counts_as_that_event_s(family):
    told = {(1, 2, "click"): Remembered([(START_US, 1.0), (START_US + HOUR_US, 1.0)], newest_us=START_US + HOUR_US)}
    rows = rows_of(packed_cells(told), np.array([1]), np.array([2]))
    late, early = START_US + HOUR_US, START_US - 100 * DAY_US
    np.testing.assert_array_equal(whole(family).vectors(rows, early), whole(family).vectors(rows, late))
    since = FeatureSelection.of([f"{family.name}.click.since_s"])
    assert since.vectors(rows, early)[0, 0] == 0


def test_an_early_moment_of_one_cell_leaves_the_others_alone():
    """The clicks are newer than the moment of use, the impressions older: only the clicks stand still."""
    told = {
        (1, 0, "click"): Remembered([(START_US + HOUR_US, 1.0)], newest_us=START_US + HOUR_US),
        (1, 0, "impression"): Remembered([(START_US - DAY_US, 1.0)], newest_us=START_US - DAY_US),
    }
    selection = FeatureSelection.of(["user.click.count.24h", "user.impression.count.24h", "user.impression.since_s"])
    vectors = selection.vectors(rows_of(packed_cells(told), np.array([1])), START_US)
    np.testing.assert_allclose(vectors, [[1.0, 0.5, 86_400]])


moments_us = st.integers(0, 400 * DAY_US) | st.sampled_from([0, 1, MINUTE_US, HOUR_US, DAY_US, 10 * DAY_US, 60 * DAY_US])


@settings(max_examples=150, deadline=None)
@given(ages=st.lists(moments_us, min_size=1, max_size=12), now_us=st.integers(19_000 * DAY_US, 20_000 * DAY_US))
def test_fading_and_sliding_counts_of_any_events_at_any_moment(ages, now_us):
    memory = Remembered([(now_us - age, 1.0) for age in ages], newest_us=now_us - min(ages))
    rows = rows_of(packed_cells({(5, 0, "like"): memory}), np.array([5]))
    counts = FeatureSelection.matching("post", measures=("like",), statistics=("count",)).vectors(rows, now_us)
    slides = FeatureSelection.matching("post", measures=("like",), statistics=("sliding",)).vectors(rows, now_us)
    np.testing.assert_allclose(counts[0], memory.fading(now_us), rtol=2e-6, atol=1e-37)
    assert slides[0].tolist() == memory.sliding(now_us).tolist()


@settings(max_examples=60, deadline=None)
@given(chosen=st.lists(st.integers(0, len(features_of("author")) - 1), min_size=1, max_size=40, unique=True))
def test_a_selection_is_its_columns_of_the_whole_vector(chosen):
    now_us = START_US + 3 * DAY_US
    a, b = keys_of("author")
    rows = rows_of(packed_cells(memories("author")), a, b)
    selection = FeatureSelection.of([features_of("author")[place].name for place in chosen])
    assert selection.width == len(chosen)
    np.testing.assert_array_equal(selection.vectors(rows, now_us), whole("author").vectors(rows, now_us)[:, chosen])


def test_a_selection_by_measure_statistic_and_window_keeps_the_family_s_order():
    selection = FeatureSelection.matching("user_topic", ("click", "like"), ("rate", "since_s"), ("24h", "7d"))
    assert selection.names == (
        "user_topic.click.rate.24h",
        "user_topic.click.rate.7d",
        "user_topic.like.rate.24h",
        "user_topic.like.rate.7d",
        "user_topic.click.since_s",
        "user_topic.like.since_s",
    )
    assert [whole(family).names for family in FAMILIES] == [
        tuple(feature.name for feature in catalogue() if feature.family == family.name) for family in FAMILIES
    ]


def test_what_does_not_fit_a_selection_is_named():
    with pytest.raises(ValueError, match=r"one family's features, not of \['post', 'user'\]"):
        FeatureSelection.of(["user.click.total", "post.click.total"])
    with pytest.raises(ValueError, match=r"\['user\.click\.total'\] more than once"):
        FeatureSelection.of(["user.click.total", "user.click.total"])
    with pytest.raises(ValueError, match="no feature 'user.clicks.total'; the nearest are user.click.total"):
        FeatureSelection.of(["user.clicks.total"])
    with pytest.raises(ValueError, match="no feature of user has measure"):
        FeatureSelection.matching("user", measures=("impression",), statistics=("rate",))
    with pytest.raises(ValueError, match="names no feature"):
        FeatureSelection.of([])


def test_moments_that_are_not_one_or_one_a_key_are_refused():
    with pytest.raises(ValueError, match="2 moments for 3 keys"):
        feature_vectors("user", np.zeros((3, len(MEASURES)), CELL), np.array([1, 2]))


def test_no_keys_make_no_vectors():
    assert whole("user").vectors(CellRows.of_packed([]), 0).shape == (0, whole("user").width)


def test_packed_cells_are_found_in_their_rows():
    cells = packed_cells({(1, 0, "like"): NOTHING, (1, 0, "click"): NOTHING, (2, 0, "reply"): NOTHING})
    rows = CellRows.of_packed([cells[:2].tobytes(), None, b"", cells[2:].tobytes()])
    dense = rows.dense()
    assert dense.shape == (4, len(MEASURES))
    assert dense["a"][:, MEASURE_INDEX["click"]].tolist() == [1, 0, 0, 0]
    assert dense["a"][:, MEASURE_INDEX["reply"]].tolist() == [0, 0, 0, 2]
    assert not dense["a"][1:3].any()


def test_rows_point_into_cells_that_are_not_copied():
    """As a live table's: what happens to a cell is seen by the rows that point at it."""
    cells = packed_cells({(7, 0, "like"): Remembered([(START_US, 1.0)], newest_us=START_US)})
    keyed = KeyedCells(cells)
    total = FeatureSelection.of(["post.like.total"])
    assert total.vectors_of(keyed, np.array([7, 8]), 0, START_US).tolist() == [[1.0], [0.0]]
    cells["total"] = 5
    assert total.vectors_of(keyed, np.array([7, 8]), 0, START_US).tolist() == [[5.0], [0.0]]


def test_a_packed_row_of_another_layout_is_refused_by_number():
    with pytest.raises(ValueError, match="packed row 1 has 7 bytes, no multiple of a cell's 256; materialise"):
        CellRows.of_packed([None, b"seven b"])
    with pytest.raises(ValueError, match=rf"expected CELL \(n, {len(MEASURES)}\)"):
        CellRows.of_dense(np.zeros((2, 3), CELL))


@settings(max_examples=80, deadline=None)
@given(
    known=st.sets(st.tuples(st.integers(-3, 12), st.integers(0, 6), st.integers(0, len(MEASURES) - 1)), max_size=40),
    asked=st.lists(st.tuples(st.integers(-4, 14), st.integers(-1, 8)), min_size=1, max_size=20),
    seed=st.integers(0, 2**32 - 1),
)
def test_keys_known_unknown_and_repeated_find_their_own_cells(known, asked, seed):
    cells = empty_cells(len(known))
    for cell, (a, b, measure) in zip(cells, known, strict=True):
        cell["a"], cell["b"], cell["measure"], cell["total"] = a, b, measure, 1_000 * a + 100 * b + measure + 1
    np.random.default_rng(seed).shuffle(cells)
    dense = dense_cells(np.array([a for a, _ in asked]), np.array([b for _, b in asked]), cells)
    for row, (a, b) in enumerate(asked):
        expected = [1_000 * a + 100 * b + m + 1 if (a, b, m) in known else 0 for m in range(len(MEASURES))]
        assert dense["total"][row].tolist() == expected
