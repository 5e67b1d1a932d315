"""A follow graph for datasets that declare none, inferred from engagements and labelled derived.

Rule: a user follows an author from the first moment at which one of these holds
- the user followed the author (a `follow` event),
- the user liked a post of the author,
- the user had two quality views (`video_view`) of the author's posts.
"""

from __future__ import annotations

import polars as pl

from feature_repo.contracts import EDGES, Action, EdgeKind

QUALITY_VIEWS_NEEDED = 2

# Strength of an edge: a follow is full strength; likes and views add up to it and never beyond.
LIKE_WEIGHT = 0.5
VIEW_WEIGHT = 0.25
FULL_WEIGHT = 1.0


def derive_follow_edges(events: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Follow edges (EDGES schema, derived = True), one per user and author, sorted by both ids.

    `created_at` is the moment the rule first held, so edges as of a time are those created before it.
    """
    at = pl.col("occurred_at")
    follow, like, view = (pl.col("action") == action for action in (Action.FOLLOW, Action.LIKE, Action.VIDEO_VIEW))
    engaged_rows = events.lazy().filter(follow | like | view).select("user_id", "author_id", "action", "occurred_at")
    pairs = (
        engaged_rows.collect(engine="streaming")
        .lazy()
        .group_by("user_id", pl.col("author_id").alias("target_id"))
        .agg(
            follows=follow.sum(),
            likes=like.sum(),
            views=view.sum(),
            first_follow=at.filter(follow).min(),
            first_like=at.filter(like).min(),
            enough_views=at.filter(view).sort().get(QUALITY_VIEWS_NEEDED - 1, null_on_oob=True),
        )
        .with_columns(created_at=pl.min_horizontal("first_follow", "first_like", "enough_views"))
        .filter(pl.col("created_at").is_not_null())
    )
    engaged = pl.col("likes") * LIKE_WEIGHT + pl.col("views") * VIEW_WEIGHT
    return (
        pairs.with_columns(
            kind=pl.lit(EdgeKind.FOLLOW.value),
            weight=pl.when(pl.col("follows") > 0).then(FULL_WEIGHT).otherwise(engaged.clip(0.0, FULL_WEIGHT)).cast(pl.Float32),
            derived=pl.lit(True),
        )
        .select(EDGES.names)
        .sort("user_id", "target_id")
        .collect()
    )
