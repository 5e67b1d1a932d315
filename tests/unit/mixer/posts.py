"""Candidates, a snapshot and queries of a size that a reader can check by eye."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from feature_repo.blocks import States
from feature_repo.feature_rows import History, UserFeatures
from feature_repo.post_blocks import PostBlocks
from feature_repo.snapshot import ENTITIES, Snapshot
from services.mixer.candidates import Candidates, merge
from services.mixer.corpus import Corpus
from services.mixer.query import Query
from services.ranking.prepared_posts import PreparedPosts

NOW_US = 1_650_000_000_000_000
HOUR_US = 3_600_000_000
TICK_US = 60_000_000


def candidates(posts: list[int], authors: list[int] | None = None, **columns: Any) -> Candidates:
    """Proposals of one source named `test`, best first, with the base columns and `columns`."""
    proposed = Candidates.proposed(np.array(posts, np.int64), np.array(authors or posts, np.int64))
    return merge([("test", proposed)]).with_columns({name: np.asarray(column) for name, column in columns.items()})


def snapshot(authors: list[int], popularity: list[float] | None = None, ages_h: list[int] | None = None) -> Snapshot:
    """Posts 0, 10, 20, ... by the given authors; by default the first is the newest and the most popular."""
    n = len(authors)
    states = States.empty(n)
    return Snapshot(
        version="v1",
        as_of_us=NOW_US,
        post_id=np.arange(n, dtype=np.int64) * 10,
        author_id=np.array(authors, np.int64),
        topic=np.zeros(n, np.int32),
        created_at_us=NOW_US - HOUR_US * np.array(ages_h if ages_h is not None else range(n), np.int64),
        media=np.zeros(n, np.int16),
        popularity=np.array(popularity if popularity is not None else range(n, 0, -1), np.float32),
        profile=np.zeros((n, 1), np.float32),
        states=dict.fromkeys(ENTITIES, states),
        blocks={name: np.zeros((n, 1), np.float32) for name in ENTITIES},
    )


class FixedVectors:
    """A tower pair that gives each post the vector (row,) and each user the vector (1,)."""

    def post_vectors(self, posts: Snapshot, trained_on: bool = True) -> np.ndarray:
        return np.arange(len(posts), dtype=np.float32)[:, None]

    def prepare(self, posts: Snapshot, moment_us: int) -> PreparedPosts:
        return PreparedPosts(posts.version, PostBlocks.derive(posts, moment_us), None, np.zeros(len(posts) + 1, np.float32))

    def user_vector(self, user: UserFeatures) -> np.ndarray:
        return np.ones(1, np.float32)


def query(posts: Snapshot | None = None, features: Mapping[str, Any] | None = None, **changes: Any) -> Query:
    """A query of user 7 for 20 posts at NOW_US."""
    corpus = Corpus.build(posts if posts is not None else snapshot([1, 2, 3]), FixedVectors(), NOW_US, TICK_US)
    fields = {"request_id": "r", "user_id": 7, "product": "for_you", "surface": "for_you", "count": 20, "now_us": NOW_US}
    return Query(**{**fields, "corpus": corpus, "features": features or {}, **changes})


def user(seen: list[int] | None = None, *, known: bool = True) -> UserFeatures:
    """User 7 with `seen` as the newest posts of the history."""
    history = History.empty(1)
    if seen:
        history.post_id[0, -len(seen) :] = seen
    return UserFeatures(7, np.zeros((1, 1), np.float32), history, known)
