"""Seeded events as `event_log.read_events` gives them, with everything that makes cells hard."""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_repo.aggregates.measures import COUNTED, DAY_US, MINUTE_US
from feature_repo.contracts import HISTORY_BEFORE

NOW_US = 1_700_000_123_456_789
PRODUCTS = ("for_you", "tab_3", "a surface of its own", HISTORY_BEFORE)

# How long ago: inside the shortest window, on bucket edges, in other eras, and years back.
AGES_US = (1, 10_000_000, MINUTE_US, 7 * MINUTE_US, 90 * MINUTE_US, DAY_US // 2, 3 * DAY_US, 40 * DAY_US, 900 * DAY_US)


def catalogue_events(count: int = 600, *, seed: int = 0, users: int = 4, posts: int = 12) -> pl.DataFrame:
    """Events before NOW_US of every action: dated and undated, with values missing, negative and huge, on posts without a
    topic, on product names that have no bucket of their own, several at one microsecond.
    """
    random = np.random.default_rng(seed)
    post = random.integers(0, posts, count)
    age = random.choice(AGES_US, count) * random.choice([1.0, 1.0, 0.37], count)
    value = random.choice([-5_000.0, 0.0, 1_234.5, 40_000.0, 900_000.0], count)
    return pl.DataFrame(
        {
            "event_id": [f"e{number}" for number in range(count)],
            "user_id": random.integers(0, users, count),
            "post_id": 1_000 + post,
            "author_id": post % 3,
            "topic": np.where(post % 5 == 0, -1, post % 2).astype(np.int32),
            "action": random.choice(COUNTED, count),
            "value": pl.Series(value).set(pl.Series(random.random(count) < 0.3), None),
            "product": random.choice(PRODUCTS, count, p=[0.4, 0.3, 0.1, 0.2]),
            "position": pl.Series([None] * count, dtype=pl.Int32),
            "request_id": pl.Series([None] * count, dtype=pl.String),
            "at": NOW_US - np.maximum(age.astype(np.int64), 1),
        }
    )
