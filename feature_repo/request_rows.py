"""Ranking rows of one request: one user's features against many candidates, gathered from the snapshot."""

from __future__ import annotations

import numpy as np

from feature_repo.blocks import BLOCK_NAMES, States, post_block
from feature_repo.feature_rows import FeatureRows, UserFeatures
from feature_repo.history_blocks import HistorySignals
from feature_repo.post_blocks import PostBlocks
from feature_repo.snapshot import Snapshot
from feature_repo.surfaces import surface_code


def candidate_rows(
    user: UserFeatures, snapshot: Snapshot, rows: np.ndarray, product: str, now_us: int, posts: PostBlocks | None = None
) -> FeatureRows:
    """Rows for the snapshot rows `rows` (int (n,)), in their order; a row of -1 is a post nobody has met.

    Aggregates fade to `now_us` here, so the values are those that training rows hold for the same moment. With `posts`, what
    is known of posts, authors and topics is looked up there instead, and stands as of its moment. The history is shared by
    all rows (n = 1).
    """
    rows = np.asarray(rows, np.int64)
    post_id, author_id, topic = (_taken(column, rows, -1) for column in (snapshot.post_id, snapshot.author_id, snapshot.topic))
    bucket = np.full(len(rows), surface_code(product), np.int32)
    signals = HistorySignals(user.history)
    context = signals.context(np.array([surface_code(product)], np.int32), np.array([now_us], np.int64))
    blocks = {
        "user": np.broadcast_to(user.user, (len(rows), user.user.shape[1])),
        **(_derived(snapshot, rows, author_id, topic, now_us) if posts is None else posts.of(rows)),
        "user_author": signals.matches(user.history.author_id, author_id),
        "user_topic": signals.matches(user.history.topic, topic),
        "user_post": signals.matches(user.history.post_id, post_id),
        "context": np.broadcast_to(context, (len(rows), context.shape[1])),
    }
    return FeatureRows(
        user_id=np.full(len(rows), user.user_id, np.int64),
        post_id=post_id,
        author_id=author_id,
        topic=topic,
        product=bucket,
        blocks=blocks,
        history=user.history,
        names=BLOCK_NAMES,
    )


def _derived(
    snapshot: Snapshot, rows: np.ndarray, author_id: np.ndarray, topic: np.ndarray, now_us: int
) -> dict[str, np.ndarray]:
    """The blocks post, author and topic of `rows` at `now_us`."""
    created_at_us = _taken(snapshot.created_at_us, rows, 0)
    return {
        "post": post_block(snapshot.states["post"].take(rows), _taken(snapshot.profile, rows, 0), created_at_us, now_us),
        "author": _derived_once(snapshot.states["author"], author_id, rows, now_us),
        "topic": _derived_once(snapshot.states["topic"], topic, rows, now_us),
    }


def _derived_once(states: States, key: np.ndarray, rows: np.ndarray, now_us: int) -> np.ndarray:
    """The block of each of `rows` (n,) from the states of its `key` (n,): every distinct key is derived once."""
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return states.take(rows[first]).derive(now_us).take(inverse, axis=0)


def _taken(column: np.ndarray, rows: np.ndarray, unknown: int) -> np.ndarray:
    """The values at `rows` (n,), `unknown` where a row is negative."""
    if len(column) == 0:
        return np.full((len(rows), *column.shape[1:]), unknown, column.dtype)
    taken = column.take(rows, axis=0, mode="clip")
    if (missing := rows < 0).any():
        taken[missing] = unknown
    return taken
