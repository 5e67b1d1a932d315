"""The policy behind the world's logged exposures: a mixture whose every choice has an exactly known propensity.

Each slot draws on its own: a recent post of someone followed, a recent post of a topic by the person's interests, or any recent
post. An arm with nothing to offer gives its chance to the last one. So every recent post can appear, and

    P(post | person) = uniform / N + interest[topic] * TOPICAL / N_topic + [followed] * NETWORK / N_followed
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.datasets.world.config import TOPICS
from feature_repo.datasets.world.day_curve import HOUR_US
from feature_repo.datasets.world.follow_graph import FollowGraph
from feature_repo.datasets.world.posts import Posts

RELEASE = "world-logger"
NETWORK = 0.3
TOPICAL = 0.5
POOL_HOURS = 72  # how old a shown post may be
REFRESH_HOURS = 6  # how often the pool is drawn up


@dataclass(frozen=True)
class Choices:
    """One row a slot."""

    row: np.ndarray  # int64 (n,), row of the pool
    propensity: np.ndarray  # float64 (n,)


@dataclass(frozen=True)
class Pool:
    """The posts that may be shown during one refresh period, and what the people at hand can reach in it."""

    posts: Posts  # N
    by_topic: np.ndarray  # int64 (N,), rows sorted by first topic
    topic_first: np.ndarray  # int64 (TOPICS,), first place of a topic in by_topic
    topic_count: np.ndarray  # int64 (TOPICS,)
    network_row: np.ndarray  # int64 (pairs,), rows of followed authors' posts, grouped by person
    network_first: np.ndarray  # int64 (users,)
    network_count: np.ndarray  # int64 (users,)


def recent_rows(posts: Posts, at_us: int) -> np.ndarray:
    """Rows of posts created in the POOL_HOURS before `at_us`; `posts` must be in order of creation."""
    first, last = np.searchsorted(posts.created_us, [at_us - POOL_HOURS * HOUR_US, at_us])
    return np.arange(first, last)


def pool_of(recent: Posts, graph: FollowGraph) -> Pool:
    """The pool of `recent` posts for everyone of the graph."""
    by_topic = np.argsort(recent.topic, kind="stable")
    topic_count = np.bincount(recent.topic, minlength=TOPICS)
    by_author = np.argsort(recent.author_id, kind="stable")
    author_count = np.bincount(recent.author_id, minlength=graph.users)
    author_first = np.cumsum(author_count) - author_count
    each = author_count[graph.target]  # posts that each follow edge reaches
    turn = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
    network_row = by_author[np.repeat(author_first[graph.target], each) + turn]
    network_count = np.bincount(graph.source, weights=each, minlength=graph.users).astype(np.int64)
    return Pool(
        posts=recent,
        by_topic=by_topic,
        topic_first=np.cumsum(topic_count) - topic_count,
        topic_count=topic_count,
        network_row=network_row,
        network_first=np.cumsum(network_count) - network_count,
        network_count=network_count,
    )


def choose(pool: Pool, graph: FollowGraph, user_ids: np.ndarray, interests: np.ndarray, draws: np.ndarray) -> Choices:
    """One post a row for `user_ids` (n,) with `interests` (n, TOPICS), by `draws` uniforms (n, 4)."""
    size = len(pool.posts)
    reach = pool.network_count[user_ids]
    topic = (np.cumsum(interests, axis=1) < draws[:, [1]]).sum(axis=1).clip(max=TOPICS - 1)
    networked = (draws[:, 0] < NETWORK) & (reach > 0)
    topical = (draws[:, 0] >= NETWORK) & (draws[:, 0] < NETWORK + TOPICAL) & (pool.topic_count[topic] > 0)
    row = np.minimum((draws[:, 2] * size).astype(np.int64), size - 1)
    within = (draws[topical, 2] * pool.topic_count[topic[topical]]).astype(np.int64)
    row[topical] = pool.by_topic[pool.topic_first[topic[topical]] + within]
    within = (draws[networked, 2] * reach[networked]).astype(np.int64)
    row[networked] = pool.network_row[pool.network_first[user_ids[networked]] + within]
    return Choices(row, propensities(pool, graph, user_ids, interests, row))


def propensities(pool: Pool, graph: FollowGraph, user_ids: np.ndarray, interests: np.ndarray, row: np.ndarray) -> np.ndarray:
    """P(pool row | person) for each (person, row) pair, float64 (n,)."""
    reach = pool.network_count[user_ids]
    # Not a matrix product: its rounding depends on the batch, and a propensity must not.
    offered = (interests * (pool.topic_count > 0)).sum(axis=1)
    anything = 1 - NETWORK * (reach > 0) - TOPICAL * offered
    topic = pool.posts.topic[row]
    followed = graph.follows(user_ids, pool.posts.author_id[row])
    return (
        anything / len(pool.posts)
        + TOPICAL * interests[np.arange(len(row)), topic] / pool.topic_count[topic]
        + np.where(followed, NETWORK / np.maximum(reach, 1), 0.0)
    )
