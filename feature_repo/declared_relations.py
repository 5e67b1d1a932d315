"""Follows, mutes and blocks that users declared through events: they hold from then on, wherever the edges table stands."""

from __future__ import annotations

import polars as pl

from feature_repo.contracts import EDGES, Action, EdgeKind
from feature_repo.lake import Lake

RELATION_OF_ACTION: dict[Action, EdgeKind] = {
    Action.FOLLOW: EdgeKind.FOLLOW,
    Action.MUTE: EdgeKind.MUTE,
    Action.BLOCK: EdgeKind.BLOCK,
}


def declared_relations(events: pl.LazyFrame) -> pl.DataFrame:
    """Edges (EDGES schema, derived = False) from follow, mute and block events; the first declaration gives the moment."""
    kinds = {action.value: kind.value for action, kind in RELATION_OF_ACTION.items()}
    return (
        events.filter(pl.col("action").is_in(list(kinds)))
        .group_by("user_id", pl.col("author_id").alias("target_id"), pl.col("action").replace_strict(kinds).alias("kind"))
        .agg(created_at=pl.col("occurred_at").min())
        .with_columns(weight=pl.lit(1.0, pl.Float32), derived=pl.lit(False))
        .select(EDGES.names)
        .sort("user_id", "target_id", "kind")
        .collect()
    )


def current_edges(lake: Lake) -> pl.DataFrame:
    """The edges table, and what the lake's events declare beyond it: a mute must outlive the process that took it."""
    return pl.concat([lake.read("edges"), declared_relations(lake.scan_events())])
