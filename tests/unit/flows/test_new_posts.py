"""Simulated authors publish: each new post once, with all that it holds, and never before its moment."""

from __future__ import annotations

import polars as pl
import pytest

from feature_repo.datasets.world import World, WorldConfig, with_later_days
from feature_repo.datasets.world.day_curve import DAY_US, HOUR_US
from feature_repo.lake import Lake
from flows.demo.traffic.new_posts import NewPosts

CONFIG = WorldConfig(users=100, posts=450, days=6)


@pytest.fixture
def world() -> World:
    return World(with_later_days(CONFIG, 30))


@pytest.fixture
def lake(tmp_path, world) -> Lake:
    lake = Lake(tmp_path)
    lake.write("posts", World(CONFIG).posts(), "world")
    return lake


def log_end(world: World) -> int:
    return world.start_us + CONFIG.days * DAY_US


def test_after_each_hour_the_lake_holds_the_posts_of_the_world_until_then(world, lake):
    posts, told = NewPosts(world, lake, log_end(world)), 0
    for hour in range(1, 60, 7):
        until = log_end(world) + hour * HOUR_US
        told += posts.publish(until)
        expected = world.posts().filter(pl.col("created_at").dt.epoch("us") < until)
        assert lake.read("posts").sort("post_id").select(expected.columns).equals(expected)
        assert CONFIG.posts + told == expected.height
    assert told > 50


def test_a_process_that_begins_anew_goes_on_with_the_same_day(world, lake):
    noon = log_end(world) + 12 * HOUR_US
    assert NewPosts(world, lake, log_end(world)).publish(noon) > 0
    parts = {file: file.stat().st_mtime_ns for file in (lake.root / "posts").glob("*.parquet")}
    again = NewPosts(world, lake, log_end(world))
    assert again.publish(noon) == 0
    assert parts == {file: file.stat().st_mtime_ns for file in parts}  # nothing new: no mixer has to read it again
    assert again.publish(noon + 6 * HOUR_US) > 0
    assert lake.read("posts")["post_id"].is_unique().all()


def test_who_begins_anew_begins_after_the_last_day_that_was_lived(world, lake):
    posts = NewPosts(world, lake, log_end(world))
    assert posts.first_free_day() == CONFIG.days
    posts.publish(log_end(world) + 12 * HOUR_US)
    posts.publish(log_end(world) + 30 * HOUR_US)
    assert NewPosts(world, lake, log_end(world)).first_free_day() == CONFIG.days + 2


def test_what_the_log_holds_is_not_published_again(world, lake):
    assert NewPosts(world, lake, log_end(world)).publish(log_end(world)) == 0
    assert sorted(file.name for file in (lake.root / "posts").iterdir()) == ["world.parquet"]
