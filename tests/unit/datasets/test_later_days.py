"""A world that goes on beyond its logged days: what was before stays as it was, to the bit."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from feature_repo.contracts import check_table
from feature_repo.datasets.world import World, WorldConfig, with_later_days
from feature_repo.datasets.world.day_curve import DAY_US

CONFIGS = (
    WorldConfig(users=200, posts=401, days=6),
    WorldConfig(seed=3, users=90, posts=3_000, days=11),
    WorldConfig(seed=5, users=50, posts=97, days=2),
)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_later_days_leave_posts_people_graph_and_answers_as_they_were(config: WorldConfig) -> None:
    before, after = World(config), World(with_later_days(config, 400))
    assert after.config.days >= 400
    assert after.posts().head(config.posts).equals(before.posts())
    assert after.users().equals(before.users())
    assert after.edges().equals(before.edges())
    rng = np.random.default_rng(1)
    asked = (
        rng.integers(0, config.users, 500),
        rng.integers(0, config.posts, 500),
        before.start_us + DAY_US,
        np.arange(500) % 20,
    )
    for action, happened in before.respond(*asked).items():
        assert np.array_equal(after.respond(*asked)[action], happened), action


def test_later_posts_go_on_at_the_same_rate_and_hold_to_the_contract() -> None:
    config = CONFIGS[1]
    table = World(with_later_days(config, 100)).posts()
    assert check_table("posts", table).num_rows == table.height
    assert table["created_at"].is_sorted()
    later = table.filter(pl.col("created_at") >= pl.lit(config.start).cast(pl.Datetime("us", "UTC")) + pl.duration(days=11))
    assert later["post_id"].min() == config.posts
    a_day = later.group_by(pl.col("created_at").dt.date()).len()["len"]
    assert abs(a_day.mean() - config.posts / 14) < 2


def test_no_later_days_are_no_change() -> None:
    assert with_later_days(CONFIGS[0], CONFIGS[0].days) == CONFIGS[0]


def test_the_posts_of_a_span_are_those_of_the_whole_table() -> None:
    world = World(with_later_days(CONFIGS[0], 30))
    table = world.posts()
    for start, end in ((6.0, 6.5), (5.9, 9.2), (-3.0, 1.0), (12.25, 12.26), (-9.0, -4.0)):
        from_us, to_us = (world.start_us + round(day * DAY_US) for day in (start, end))
        at = table["created_at"].dt.epoch("us")
        assert world.posts_between(from_us, to_us).equals(table.filter((at >= from_us) & (at < to_us)))


def test_the_days_to_come_begin_with_what_the_logged_feed_made_of_people() -> None:
    satisfaction = World(CONFIGS[0]).satisfaction_after_log()
    assert len(satisfaction) == CONFIGS[0].users
    assert satisfaction.std() > 0.01 and 0.0 < satisfaction.mean() < 1.0
