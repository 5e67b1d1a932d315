"""The catalogue: thousands of features, each with a name of its own, a meaning, an owner, and a way to compute it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from feature_repo.aggregates.beliefs import MEANS_S, RATES
from feature_repo.aggregates.catalogue import catalogue, features_of, find, nearest_names, rate_parts, search, undocumented
from feature_repo.aggregates.example_cells import example_rows, example_words
from feature_repo.aggregates.families import FAMILIES, FAMILY_OF, Family
from feature_repo.aggregates.features import FeatureSelection, whole
from feature_repo.aggregates.measures import COUNTED, DAY_US, MEASURES, UNDATED, VALUED, WINDOWS
from feature_repo.aggregates.phrases import counterpart, phrase
from feature_repo.aggregates.recipes import recipe_of
from feature_repo.aggregates.statistics import DISTINCT, STATISTICS

USER = FAMILY_OF["user"]
NOON = 19_000 * DAY_US + DAY_US // 2


def test_there_are_more_than_six_thousand_features_and_none_is_undocumented():
    assert len(catalogue()) >= 6_000
    assert undocumented(catalogue()) == []


@pytest.mark.parametrize("field", ["name", "description", "dtype", "owner", "family", "unit", "formula"])
def test_a_feature_without_its_documentation_is_found(field):
    planted = replace(find("user_author.like.rate.7d"), **{field: "  "})
    assert any(f"{field} is empty" in fault for fault in undocumented([*features_of("post"), planted]))


def test_a_feature_that_is_told_in_another_one_s_words_is_found():
    like, click = find("user.like.total"), find("user.click.total")
    copied = replace(like, description=click.description)
    assert undocumented([click, copied]) == ["user.like.total: described in the same words as user.click.total"]
    assert undocumented([click, click]) == ["user.click.total: two features have this name"]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_s_features_are_named_after_what_they_are(family):
    for feature in features_of(family):
        parts = (feature.family, feature.measure, feature.statistic, *([feature.window] if feature.window else []))
        assert feature.name == ".".join(parts)
        assert (feature.family, feature.owner, feature.dtype) == (family.name, family.owner, "float32")
        assert feature.measure in MEASURES
        assert feature.window is None or feature.window in {window.name for window in WINDOWS}


def test_every_measure_is_read_and_windows_are_not_forgotten():
    counts = Counter((feature.measure, feature.statistic) for feature in features_of("user"))
    assert {measure for measure, _ in counts} == set(MEASURES)
    for action in COUNTED:
        assert counts[action, "count"] == counts[action, "sliding"] == len(WINDOWS)
        assert counts[action, "rate"] == counts[action, "sliding_rate"] == (0 if action == "impression" else len(WINDOWS))
        assert counts[action, "trend"] == len(WINDOWS) - 1
        assert counts[action, "since_s"] == counts[action, "total"] == 1
    for measure in VALUED:
        assert counts[measure, "sum"] == counts[measure, "mean"] == len(WINDOWS)
        assert counts[measure, "lifetime_mean"] == counts[measure, "total"] == 1
    assert {statistic for measure, statistic in counts if measure in UNDATED} == {"total", "lifetime_rate"}


def test_the_words_name_what_is_counted_where_and_over_which_time():
    assert find("user_author.like.rate.7d").description == (
        "The user's likes of the author's posts per impression, both fading with a half-life of 7 days, smoothed towards 0.015."
    )
    assert find("author_topic.click.sliding.2h").description == (
        "Clicks on the author's posts of the topic in the last 2 hours, in steps of a fifth of it."
    )
    assert find("topic_hour.dwell_s.mean.24h").formula == "(dwell_s.sum.24h + 1 x 20) / (dwell.count.24h + 1)"
    assert phrase(USER, "undated_like") == "the user's likes from before the first logged day"


def test_first_meetings_are_counted_from_either_side_of_a_pair():
    assert find("user.click.distinct_authors").unit == "authors"
    assert find("topic.click.distinct_users").unit == "users"
    for family in FAMILIES:
        found = {feature.statistic for feature in features_of(family) if feature.statistic.startswith(DISTINCT)}
        assert len(found) == len(family.distinct)


def test_a_pair_that_does_not_hold_the_family_s_id_has_no_counterpart():
    stranger = Family("post", ("post_id",), "", "")
    with pytest.raises(ValueError, match="user_author is no pair of post"):
        counterpart(stranger, FAMILY_OF["user_author"])


def test_rates_and_means_have_a_belief_to_fall_back_to():
    assert set(RATES) == set(COUNTED) - {"impression"}
    assert set(MEANS_S) == set(VALUED)
    assert rate_parts(USER, "like") == (("like", "undated_like"), ("impression", "undated_impression"))
    assert rate_parts(USER, "click") == (("click",), ("impression",))
    assert rate_parts(FAMILY_OF["user_author"], "like") == (("like",), ("impression",))
    assert rate_parts(USER, "undated_like") == (("undated_like",), ("undated_impression",))


def test_every_feature_has_a_recipe_over_cells_of_its_own_family_and_says_something_of_the_example():
    for family in FAMILIES:
        cold = whole(family).cold()
        for feature, value_of_nothing in zip(features_of(family), cold, strict=True):
            assert {read.measure for read in recipe_of(feature).reads} <= set(MEASURES)
            assert example_words(feature).startswith("a key with")
            assert np.isfinite(value_of_nothing)
    for feature in features_of("user"):
        selection = FeatureSelection.of([feature.name])
        value = selection.vectors(example_rows(feature.measure, NOON), NOON)[0, 0]
        assert value != selection.cold()[0], f"{feature.name} does not notice its own example"


def test_statistics_leave_no_measure_out():
    assert {measure for statistic in STATISTICS for measure in statistic.measures} == set(MEASURES)


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one():
    with pytest.raises(ValueError, match=r"no feature 'user\.clik\.count\.5m'; the nearest are user\.click\.count\.5m"):
        find("user.clik.count.5m")
    with pytest.raises(ValueError, match="mixer features search"):
        find("~~~~")
    assert nearest_names("~~~~") == []
    with pytest.raises(ValueError, match="no family 'usr'; the families are user, post"):
        features_of("usr")


def test_search_holds_all_words_and_puts_names_first():
    assert search("like author rate 7d")[0].name == "author.like.rate.7d"
    found = search("surface mutes")
    assert found
    assert all(one.family == "user_product" and one.measure == "mute" for one in found)
    places = [one.name.count("topic") > 0 for one in search("topic like 24h")]
    assert places == sorted(places, reverse=True)
    assert search("zebra") == []
    assert {one.measure for one in search("bookmarks surface")} == {"bookmark"}
