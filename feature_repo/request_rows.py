"""Ranking rows of one request: one user's features against many candidates, gathered from the snapshot."""

from __future__ import annotations

import numpy as np

from feature_repo.blocks import BLOCK_NAMES, history_blocks, post_block
from feature_repo.feature_rows import FeatureRows, UserFeatures
from feature_repo.products import product_bucket
from feature_repo.snapshot import ENTITIES, Snapshot


def candidate_rows(user: UserFeatures, snapshot: Snapshot, rows: np.ndarray, product: str, now_us: int) -> FeatureRows:
    """Rows for the snapshot rows `rows` (int (n,)), in their order; a row of -1 is a post nobody has met.

    Aggregates fade to `now_us` here, so the values are those that training rows hold for the same moment. The history is
    shared by all rows (n = 1).
    """
    rows = np.asarray(rows, np.int64)
    known = rows >= 0
    safe = np.where(known, rows, 0)
    post_id, author_id = (np.where(known, column[safe], -1) for column in (snapshot.post_id, snapshot.author_id))
    topic = np.where(known, snapshot.topic[safe], -1).astype(np.int32)
    bucket = np.full(len(rows), product_bucket(product), np.int16)
    moment = np.full(len(rows), now_us, np.int64)
    states = {name: snapshot.states[name].take(rows) for name in ENTITIES}
    profile = np.where(known[:, None], snapshot.profile[safe], np.float32(0.0))
    blocks = {
        "user": np.repeat(user.user, len(rows), axis=0),
        "post": post_block(states["post"], profile, np.where(known, snapshot.created_at_us[safe], 0), now_us),
        "author": states["author"].derive(now_us),
        "topic": states["topic"].derive(now_us),
        **history_blocks(user.history, post_id, author_id, topic, bucket, moment),
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
