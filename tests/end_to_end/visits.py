"""Visits of a made-up service: who was shown what, when, and what came of it. Each shape writes them in its own columns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Service:
    """How large a service is, and when its log was written."""

    users: int = 90
    posts: int = 150
    days: float = 6.0
    shown: int = 8  # posts of a visit
    visits: int = 8  # of a user, about
    start: datetime = datetime(2025, 3, 3, 6, tzinfo=UTC)
    topics: int = 4
    once: bool = False  # no user is shown a post again


def draw_visits(service: Service, seed: int) -> pl.DataFrame:
    """One row a shown post, ordered by time.

    Columns: visit, user, post, author, topic, place (0 is the first), at, opened, completed, liked, disliked (booleans: opened
    more often where the post's topic is the user's), seconds (spent), created (of the post).
    """
    draw = np.random.default_rng(seed)
    created = np.sort(draw.uniform(-0.5, service.days * 0.8, service.posts))  # in days since the start
    topic = draw.integers(0, service.topics, service.posts)
    taste = draw.integers(0, service.topics, service.users)
    visits = max(1, round(service.users * service.visits))
    user = np.r_[np.arange(service.users), draw.integers(0, service.users, max(0, visits - service.users))]
    when = np.sort(draw.uniform(0, service.days, len(user)))
    seen: dict[int, set[int]] = {}
    rows = []
    for visit, (who, day) in enumerate(zip(draw.permutation(user), when, strict=True)):
        there = np.flatnonzero(created <= day)
        if service.once:
            there = np.setdiff1d(there, np.fromiter(seen.get(who, ()), dtype=int))
        if not len(there):
            continue
        # The newest are shown more often.
        chances = np.exp(-(day - created[there]) / 2)
        count = min(service.shown, len(there))
        for place, post in enumerate(draw.choice(there, count, replace=False, p=chances / chances.sum())):
            seen.setdefault(who, set()).add(int(post))
            rows.append((visit, int(who), int(post), place, day + place * 20 / 86_400, topic[post] == taste[who]))
    frame = pl.DataFrame(rows, schema=["visit", "user", "post", "place", "day", "wanted"], orient="row")
    return _answered(frame, service, topic, created, draw)


def _answered(
    frame: pl.DataFrame, service: Service, topic: np.ndarray, created: np.ndarray, draw: np.random.Generator
) -> pl.DataFrame:
    opened = draw.random(len(frame)) < np.where(frame["wanted"], 0.5, 0.12)
    completed = opened & (draw.random(len(frame)) < 0.6)
    chance = draw.random(len(frame))
    post = frame["post"].to_numpy()
    return frame.with_columns(
        pl.Series("author", post % max(3, service.posts // 8)),
        pl.Series("topic", topic[post]),
        pl.Series("at", [service.start + timedelta(days=day) for day in frame["day"]]).dt.round("1ms"),
        pl.Series("created", [service.start + timedelta(days=day) for day in created[post]]).dt.round("1s"),
        pl.Series("opened", opened),
        pl.Series("completed", completed),
        pl.Series("liked", completed & (chance < 0.4)),
        pl.Series("disliked", ~opened & (chance < 0.06)),
        pl.Series("seconds", np.where(completed, 30 + 200 * chance, 25 * chance).round()),
    ).sort("at")


def posts_of(visits: pl.DataFrame) -> pl.DataFrame:
    """The shown posts, one row each: post, author, topic, created."""
    return visits.select("post", "author", "topic", "created").unique("post").sort("post")
