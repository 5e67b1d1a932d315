"""Seeded contract events with everything that makes features hard: undated history, delayed actions, shared microseconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.aggregates.event_messages import EVENT_SCHEMA
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.lake import Lake

FIRST_DAY = date(2022, 4, 25)
START = datetime(2022, 4, 25, tzinfo=UTC)
ACTIONS = ("click", "video_view", "like", "profile_click", "follow", "reply", "share", "not_interested")
RATES = (0.4, 0.3, 0.1, 0.05, 0.03, 0.03, 0.02, 0.02)
AUTHORS = 7
TOPICS = 4


def small_posts(count: int = 40) -> pl.DataFrame:
    """Posts 100, 101, ...; every fifth has no topic."""
    return pl.DataFrame(
        {
            "post_id": np.arange(100, 100 + count),
            "author_id": np.arange(count) % AUTHORS,
            "created_at": pl.Series([START - timedelta(days=2)] * count, dtype=pl.Datetime("us", "UTC")),
            "topics": [[] if post % 5 == 0 else [post % TOPICS] for post in range(count)],
            "media": ["NORMAL"] * count,
            "duration_ms": np.arange(count) * 1_000,
            "language": [None] * count,
            "text": [None] * count,
            "in_reply_to": [None] * count,
        },
        schema_overrides={"topics": pl.List(pl.Int32), "language": pl.String, "text": pl.String, "in_reply_to": pl.Int64},
    )


def small_users(count: int = 12) -> pl.DataFrame:
    """Users 0, 1, ...; the last one never acts."""
    return pl.DataFrame(
        {
            "user_id": np.arange(count + 1),
            "created_at": [None] * (count + 1),
            "language": [None] * (count + 1),
            "followers": np.arange(count + 1) * 10,
            "following": np.arange(count + 1),
            "attributes": [[user % 3, user % 5, -1] for user in range(count + 1)],
        },
        schema_overrides={
            "created_at": pl.Datetime("us", "UTC"),
            "language": pl.String,
            "attributes": pl.List(pl.Int32),
            "followers": pl.Int64,
            "following": pl.Int64,
        },
    )


def small_events(
    exposures: int = 400, *, seed: int = 0, users: int = 12, posts: int = 40, days: int = 4, delayed: bool = True
) -> pl.DataFrame:
    """Contract events: dated exposures over `days` from START, some on the same microsecond, and undated ones before."""
    random = np.random.default_rng(seed)
    rows = []
    span_us = days * 86_400_000_000 - 7_200_000_000
    for number in range(exposures):
        at_us = int(random.integers(0, span_us))
        if number % 3 == 0:  # on a coarse grid, so that exposures meet on one microsecond
            at_us -= at_us % 600_000_000
        at = START + timedelta(microseconds=at_us)
        rows += _exposure(random, number, at, users, posts, delayed)
    for user in range(users):
        rows += _undated(random, user, posts)
    return pl.DataFrame(rows, schema=EVENT_SCHEMA)


def _exposure(random: np.random.Generator, number: int, at: datetime, users: int, posts: int, delayed: bool) -> list[dict]:
    post = int(random.integers(0, posts))
    base = {
        "user_id": int(random.integers(0, users)),
        "post_id": 100 + post,
        "author_id": post % AUTHORS,
        "product": f"tab_{number % 3}",
        "request_id": f"r{number}",
    }
    rows = [{**base, "event_id": f"e{number}-impression", "action": "impression", "occurred_at": at}]
    for action, rate in zip(ACTIONS, RATES, strict=True):
        if random.random() < rate:
            wait = timedelta(seconds=int(random.integers(1, 5_000))) if delayed and random.random() < 0.5 else timedelta(0)
            rows.append({**base, "event_id": f"e{number}-{action}", "action": action, "occurred_at": at + wait})
    if random.random() < 0.7:
        value = float(random.integers(0, 400_000))
        left = at + timedelta(seconds=number * 37 % 4_000 if delayed and number % 4 == 1 else 0)
        rows.append({**base, "event_id": f"e{number}-dwell", "action": "dwell", "value": value, "occurred_at": left})
        if number % 8 == 1:  # it came back for a while
            rows.append({**rows[-1], "event_id": f"e{number}-dwell-again", "value": 1_250.0, "occurred_at": left})
    return rows


def _undated(random: np.random.Generator, user: int, posts: int) -> list[dict]:
    bound = START - timedelta(seconds=int(random.integers(1, 100_000)))
    rows = []
    for place in range(int(random.integers(0, 8))):
        post = int(random.integers(0, posts))
        actions = [
            "impression",
            *(["video_view"] if random.random() < 0.5 else []),
            *(["like"] if random.random() < 0.2 else []),
        ]
        for action in actions:
            rows.append(
                {
                    "event_id": f"h{user}-{action}-{place}",
                    "user_id": user,
                    "post_id": 100 + post,
                    "author_id": post % AUTHORS,
                    "action": action,
                    "product": HISTORY_BEFORE,
                    "position": place,
                    "occurred_at": bound,
                }
            )
    return rows


def small_lake(root: Path, events: pl.DataFrame | None = None) -> Lake:
    """A lake with small users and posts, and `events` (all of `small_events` by default)."""
    lake = Lake(root)
    lake.write_events(small_events() if events is None else events, "small")
    lake.write("posts", small_posts(), "small")
    lake.write("users", small_users(), "small")
    lake.mark("dataset", {"name": "small", "day_offset_s": 0})
    return lake
