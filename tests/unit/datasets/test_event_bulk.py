"""World-like events in bulk: the shape of real event logs, and the same ones every time."""

from __future__ import annotations

import polars as pl
import pytest

from feature_repo.contracts import Action
from feature_repo.datasets.world.event_bulk import BulkWorld, bulk_events, write_bulk_events
from feature_repo.event_log import read_events
from feature_repo.lake import Lake
from tests.small_events import small_lake

WORLD = BulkWorld(60_000, days=3)


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> pl.DataFrame:
    files = write_bulk_events(WORLD, tmp_path_factory.mktemp("bulk"), part_events=20_000)
    assert len(files) == 3
    return pl.read_parquet(files)


def test_they_have_the_columns_of_the_event_log(events, tmp_path):
    lake: Lake = small_lake(tmp_path / "lake")
    expected = read_events([lake]).schema
    assert {name: events.schema[name] for name in expected} == dict(expected)
    assert set(events.columns) == set(expected)


def test_there_are_as_many_as_asked_for_of_every_action_each_with_its_own_id(events):
    assert abs(events.height - WORLD.events) < 0.02 * WORLD.events
    assert set(events["action"]) == {action.value for action in Action if not action.value.startswith("own_")}
    assert events["event_id"].n_unique() == events.height
    timed = events["action"].is_in(["dwell", "video_view"])
    assert (events["value"].is_not_null() == timed).all()


def test_a_post_has_one_author_and_one_topic_and_some_have_none(events):
    per_post = events.group_by("post_id").agg(pl.col("author_id", "topic").n_unique())
    assert per_post["author_id"].max() == per_post["topic"].max() == 1
    assert 0.03 < (events["topic"] == -1).mean() < 0.25
    assert events["post_id"].is_between(0, WORLD.posts - 1).all()
    assert events["author_id"].is_between(0, WORLD.authors - 1).all()


def test_few_users_and_posts_have_most_of_the_events(events):
    for column in ("user_id", "post_id", "author_id"):
        counts = events[column].value_counts(sort=True)["count"]
        assert counts.head(len(counts) // 10).sum() > 0.25 * events.height, column


def test_parts_are_slices_of_time_and_oldest_first(events, tmp_path):
    parts = [bulk_events(WORLD, number, 3) for number in range(3)]
    assert all(part["at"].is_sorted() for part in parts)
    impressions = [part.filter(pl.col("action") == "impression")["at"] for part in parts]
    assert impressions[0].max() <= impressions[1].min() <= impressions[1].max() <= impressions[2].min()
    assert impressions[0].min() >= WORLD.start_us
    assert impressions[2].max() < WORLD.end_us


def test_the_seed_decides_everything(events):
    assert bulk_events(WORLD, 1, 3).equals(events.filter(pl.col("event_id").str.starts_with("bulk-1-")))
    assert not bulk_events(BulkWorld(60_000, days=3, seed=8), 1, 3).equals(bulk_events(WORLD, 1, 3))


def test_too_small_a_world_is_refused():
    with pytest.raises(ValueError, match="1000 events"):
        BulkWorld(10)
