"""A follow graph for datasets that declare none, inferred from engagements and labelled derived.

Rule: a user follows an author from the first moment at which one of these holds
- the user followed the author (a `follow` event),
- the user approved of a post of the author (an action of the group `APPROVED`, such as a like, a bookmark or a purchase),
- the user twice consumed posts of the author (an action of the role `COMPLETED`, such as a quality view or a read).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import polars as pl

from feature_repo.contracts import EDGES, Action, EdgeKind
from feature_repo.heads import APPROVED, COMPLETED

COMPLETED_NEEDED = 2
PART_ROWS = 1_000_000  # engagements that are grouped at once

# Strength of an edge: a follow is full strength; what was approved and completed adds up to it and never beyond.
APPROVED_WEIGHT = 0.5
COMPLETED_WEIGHT = 0.25
FULL_WEIGHT = 1.0


def derive_follow_edges(events: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Follow edges (EDGES schema, derived = True), one per user and author, sorted by both ids.

    `created_at` is the moment the rule first held, so edges as of a time are those created before it.
    """
    action, at = pl.col("action"), pl.col("occurred_at")
    follow = action == Action.FOLLOW.value
    approved, completed = (action.is_in(list(group)) & ~follow for group in (APPROVED, COMPLETED))
    rows = (
        events.lazy()
        .filter(follow | approved | completed)
        .select("user_id", pl.col("author_id").alias("target_id"), at, follow=follow, approved=approved, completed=completed)
        .collect(engine="streaming")
    )
    empty = pl.from_arrow(EDGES.empty_table())
    return pl.concat([empty, *(_edges_of(part) for part in _by_users(rows))])


def _by_users(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """`rows` by ranges of users, ascending, each of about PART_ROWS: grouping takes several times the memory of its rows."""
    users = rows["user_id"].gather_every(max(1, rows.height // 10_000)).sort()
    parts = max(1, round(rows.height / PART_ROWS))
    bounds = sorted({users[users.len() * number // parts] for number in range(1, parts)})
    for first, end in pairwise([None, *bounds, None]):
        within = [] if first is None else [pl.col("user_id") >= first]
        yield rows.filter(*within, *([] if end is None else [pl.col("user_id") < end]))


def _edges_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The edges of all users of `rows`."""
    at = pl.col("occurred_at")
    pair = ("user_id", "target_id")
    # Sorted once: a sort within each of many small groups takes longer.
    enough = (
        rows.lazy().filter("completed").sort("occurred_at").group_by(pair)
        .agg(enough_completed=at.get(COMPLETED_NEEDED - 1, null_on_oob=True))
    )  # fmt: skip
    pairs = (
        rows.lazy()
        .with_columns(followed_at=pl.when("follow").then(at), approved_at=pl.when("approved").then(at))
        .group_by(pair)
        .agg(
            follows=pl.col("follow").sum(),
            approvals=pl.col("approved").sum(),
            completions=pl.col("completed").sum(),
            first_follow=pl.col("followed_at").min(),
            first_approval=pl.col("approved_at").min(),
        )
        .join(enough, on=pair, how="left")
        .with_columns(created_at=pl.min_horizontal("first_follow", "first_approval", "enough_completed"))
        .filter(pl.col("created_at").is_not_null())
    )
    engaged = pl.col("approvals") * APPROVED_WEIGHT + pl.col("completions") * COMPLETED_WEIGHT
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
