"""Posts that reach the lake after a snapshot: found once, with what is known of their author and topic."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from feature_repo.blocks import EMPTY_STATE
from feature_repo.fresh_posts import FreshPosts
from feature_repo.lake import Lake
from feature_repo.snapshot import assemble_snapshot, publish
from infra.settings import Settings
from tests.contract_rows import contract_rows
from tests.drawn_posts import drawn_states

AS_OF_US = 1_714_600_000_000_000
POSTS = contract_rows()["posts"]


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.write("posts", POSTS, "dataset")
    return lake


@pytest.fixture
def snapshot():
    """Forty of the sixty posts; those that are missing lie between them."""
    held = POSTS.filter(pl.col("post_id") % 3 > 0)
    random = np.random.default_rng(1)
    author, topic = (held["post_id"].to_numpy() % step for step in (7, 5))
    states = {
        "post": drawn_states(held.height, random),
        "author": drawn_states(7, random).take(author),
        "topic": drawn_states(5, random).take(topic),
    }
    return assemble_snapshot(held, states, AS_OF_US)


def test_posts_that_the_snapshot_lacks_are_found_once(lake, snapshot):
    fresh = FreshPosts(lake)
    found = fresh.beyond(snapshot)
    assert found.post_id.tolist() == list(range(0, 60, 3))
    assert (found.version, found.as_of_us) == (snapshot.version, snapshot.as_of_us)
    assert fresh.beyond(snapshot.with_posts(found)) is None


def test_a_fresh_post_has_no_state_of_its_own_and_its_authors_and_topics(lake, snapshot):
    lake.write(
        "posts", POSTS.head(1).with_columns(post_id=pl.lit(900), author_id=pl.lit(77), topics=pl.Series([[66]])), "stranger"
    )
    found = FreshPosts(lake).beyond(snapshot)
    np.testing.assert_array_equal(found.states["post"].state, np.repeat(EMPTY_STATE, len(found), axis=0))
    for name, column in (("author", "author_id"), ("topic", "topic")):
        for row in range(len(found) - 1):
            same = np.flatnonzero(getattr(snapshot, column) == getattr(found, column)[row])[0]
            np.testing.assert_array_equal(found.states[name].state[row], snapshot.states[name].state[same])
            assert found.states[name].updated_at[row] == snapshot.states[name].updated_at[same]
        np.testing.assert_array_equal(found.states[name].state[-1:], EMPTY_STATE)


def test_a_file_is_read_when_it_is_new_or_written_again_and_all_are_for_another_snapshot(lake, snapshot):
    fresh = FreshPosts(lake)
    held = snapshot.with_posts(fresh.beyond(snapshot))
    lake.write("posts", POSTS.head(2).with_columns(post_id=pl.Series([900, 901])), "later")
    held = held.with_posts(found := fresh.beyond(held))
    assert found.post_id.tolist() == [900, 901]
    file = lake.root / "posts" / "later.parquet"
    lake.write("posts", POSTS.head(3).with_columns(post_id=pl.Series([900, 901, 902])), "later")
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1_000_000))
    assert fresh.beyond(held).post_id.tolist() == [902]
    newer = replace(snapshot, version=f"{AS_OF_US}-20240502T000000000001")
    assert len(fresh.beyond(newer)) == 23


def test_a_snapshot_that_holds_all_of_a_file_costs_no_read_of_it(lake, snapshot, monkeypatch):
    """A stream publishes a snapshot every second or two, of a lake that may hold millions of posts."""
    read, read_part = [], Lake.read_part
    noted = staticmethod(lambda name, file: read.append(file.name) or read_part(name, file))
    monkeypatch.setattr(Lake, "read_part", noted)
    lake.write("posts", POSTS.head(2).with_columns(post_id=pl.Series([900, 901])), "later")
    fresh = FreshPosts(lake)
    held = snapshot.with_posts(fresh.beyond(snapshot))
    assert sorted(read) == ["dataset.parquet", "later.parquet"]
    read.clear()
    assert fresh.beyond(replace(held, version=f"{AS_OF_US}-20240502T000000000001")) is None
    assert read == []
    lake.write("posts", POSTS.head(3).with_columns(post_id=pl.Series([900, 901, 902])), "later")
    os.utime(lake.root / "posts" / "later.parquet", ns=(1, 1))
    assert fresh.beyond(replace(held, version="another")).post_id.tolist() == [902]
    assert read == ["later.parquet"]


def test_added_posts_stand_last_and_are_found_by_their_ids(lake, snapshot):
    found = FreshPosts(lake).beyond(snapshot)
    first, second = (replace_rows(found, part) for part in (slice(10, None), slice(0, 10)))
    held = snapshot.with_posts(first).with_posts(second)
    np.testing.assert_array_equal(held.post_id[:40], snapshot.post_id)
    assert (len(held), held.appended, held.published) == (60, 20, 40)
    ids = np.arange(-1, 61)
    rows = held.rows_of(ids)
    assert rows[0] == rows[-1] == -1
    np.testing.assert_array_equal(held.post_id[rows[1:-1]], ids[1:-1])
    np.testing.assert_array_equal(held.created_at_us[rows[1:-1]], POSTS["created_at"].dt.epoch("us").to_numpy())
    assert held.rows_of(np.empty(0, np.int64)).tolist() == []


def replace_rows(snapshot, part: slice):
    """The rows of `part` of a snapshot as one of their own."""
    names = ("post_id", "author_id", "topic", "created_at_us", "media", "popularity", "profile")
    index = np.arange(len(snapshot))[part]
    return replace(
        snapshot,
        **{name: getattr(snapshot, name)[part] for name in names},
        states={name: states.take(index) for name, states in snapshot.states.items()},
        blocks={name: block[part] for name, block in snapshot.blocks.items()},
    )


def test_a_snapshot_with_added_posts_is_not_published(lake, snapshot, tmp_path):
    held = snapshot.with_posts(FreshPosts(lake).beyond(snapshot))
    with pytest.raises(ValueError, match="20 appended posts"):
        publish(Settings(home=tmp_path), held)
