"""What the stream worker says of a user or post is what the lake says of it now, not what it said at the start."""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_repo.aggregates.ranking_state import Key
from feature_repo.aggregates.stream_profiles import StreamProfiles
from feature_repo.lake import Lake
from feature_repo.profiles import post_profiles, unknown_post_profile, unknown_user_profile, user_profiles
from tests.contract_rows import contract_rows

ROWS = contract_rows()


def test_users_and_posts_that_come_later_get_their_facts(tmp_path):
    lake = Lake(tmp_path)
    lake.write("users", ROWS["users"].head(3), "first")
    lake.write("posts", ROWS["posts"].head(3), "first")
    profiles = StreamProfiles(lake)
    late = np.array([4])
    assert (profiles.of(Key.USER, late)["profile"] == unknown_user_profile()).all()
    assert (profiles.of(Key.POST, late)["profile"] == unknown_post_profile()).all()
    assert profiles.refresh() == {}

    lake.write("users", ROWS["users"][3:6], "second")
    lake.write("posts", ROWS["posts"][3:5], "second")
    assert {key: ids.tolist() for key, ids in profiles.refresh().items()} == {Key.USER: [3, 4, 5], Key.POST: [3, 4]}
    assert (profiles.of(Key.USER, late)["profile"] == user_profiles(ROWS["users"][4:5])).all()
    found = profiles.of(Key.POST, late)
    assert (found["profile"] == post_profiles(ROWS["posts"][4:5])).all()
    assert found["created_at"][0] == ROWS["posts"]["created_at"].dt.epoch("us")[4]


def test_only_those_whose_facts_changed_are_named(tmp_path):
    lake = Lake(tmp_path)
    users = ROWS["users"].head(4)
    lake.write("users", users, "first")
    lake.write("posts", ROWS["posts"], "first")
    profiles = StreamProfiles(lake)
    more = users.with_columns(followers=pl.when(pl.col("user_id") == 2).then(99).otherwise(pl.col("followers")))
    lake.write("users", more, "second")
    assert {key: ids.tolist() for key, ids in profiles.refresh().items()} == {Key.USER: [2]}


def test_authors_and_topics_have_no_facts(tmp_path):
    assert StreamProfiles(Lake(tmp_path)).of(Key.AUTHOR, np.array([1])) == {}
