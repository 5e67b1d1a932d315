"""Rules of the `posts` table."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from monitoring.expectations.event_rules import DAY_MS
from monitoring.expectations.rule import Rule, Severity, between, holds, not_null, row_count_at_least, unique


def post_rules(latest: datetime, earliest: datetime) -> tuple[Rule, ...]:
    """Rules of `posts`; no post may be newer than `latest` or older than `earliest`."""
    topics, embedding = pl.col("topics"), pl.col("embedding")
    return (
        not_null("post_id", "a post without an id cannot be served"),
        between("post_id", 0, None, "ids are not negative"),
        unique(["post_id"], "a post is described once"),
        not_null("author_id", "muted and blocked authors are filtered by it"),
        between("author_id", 0, None, "ids are not negative"),
        not_null("created_at", "age is a feature"),
        between("created_at", earliest, latest, "a time outside the platform's life is a unit mistake"),
        holds("topics_is_a_list", topics.is_not_null(), "no topic is an empty list, not a null"),
        holds("topic_ids_not_negative", topics.list.min() >= 0, "topic ids index a table"),
        holds("media_not_empty", pl.col("media").is_not_null() & (pl.col("media") != ""), "media is a model input"),
        between("duration_ms", 0, None, "a duration is not negative"),
        holds("not_its_own_reply", pl.col("in_reply_to") != pl.col("post_id"), "a thread must not loop"),
        holds("has_a_topic", topics.list.len() > 0, "topic affinity needs one", Severity.SOFT, mostly=0.9, needs=["topics"]),
        between(
            "duration_ms",
            1,
            DAY_MS,
            "zero or a day and more is a placeholder",
            Severity.SOFT,
            name="duration_plausible",
            mostly=0.95,
        ),
        holds(
            "embedding_of_one_length",
            embedding.list.len() == embedding.list.len().drop_nulls().mode().max(),
            "cosines need one length",
            needs=["embeddings"],
        ),
        holds(
            "embedding_finite",
            embedding.list.eval(pl.element().is_finite().fill_null(False)).list.all(),
            "one value without a number spoils every cosine",
            needs=["embeddings"],
        ),
        row_count_at_least(1, "a feed needs posts"),
    )
