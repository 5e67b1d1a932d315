"""The four suites by table, and the reference columns that some of their rules read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from feature_repo.contracts import Action
from feature_repo.plausible_times import EARLIEST
from monitoring.expectations.edge_rules import edge_rules
from monitoring.expectations.event_rules import event_rules
from monitoring.expectations.post_rules import post_rules
from monitoring.expectations.rule import Rule
from monitoring.expectations.user_rules import user_rules

SUITE_NAMES = ("events", "posts", "users", "edges")


def suite(name: str, latest: datetime, earliest: datetime = EARLIEST) -> tuple[Rule, ...]:
    """Rules of table `name`; raises KeyError naming the tables that have a suite."""
    if name not in SUITE_NAMES:
        raise KeyError(f"no suite for table {name!r}; there are suites for {', '.join(SUITE_NAMES)}")
    return {
        "events": lambda: event_rules(latest, earliest),
        "posts": lambda: post_rules(latest, earliest),
        "users": user_rules,
        "edges": lambda: edge_rules(latest, earliest),
    }[name]()


def traits_of(tables: Mapping[str, pl.DataFrame]) -> set[str]:
    """What the data has, of what some rules presuppose.

    "impressions", "requests" (events name theirs), "topics" and "embeddings" (of posts).
    """
    found = set()
    if "events" in tables:
        events = tables["events"]
        found |= {"impressions"} if (events["action"].cast(pl.String) == Action.IMPRESSION.value).any() else set()
        found |= {"requests"} if events["request_id"].is_not_null().any() else set()
    if "posts" in tables and (tables["posts"]["topics"].list.len() > 0).any():
        found.add("topics")
    if "posts" in tables and tables["posts"]["embedding"].is_not_null().any():
        found.add("embeddings")
    return found


def with_references(name: str, table: pl.DataFrame, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """`table` with the columns that look into other tables or other rows; null where the other table is not at hand."""
    if name != "events":
        return table
    impression = pl.col("action").cast(pl.String) == Action.IMPRESSION.value
    return table.with_columns(
        _author_of_post(table, tables.get("posts")),
        user_known=_known(table, tables.get("users")),
        exposed=_same_exposure(table, impression),
    ).with_columns(
        post_known=pl.lit(None, pl.Boolean) if "posts" not in tables else pl.col("posted_by").is_not_null(),
        author_agrees=pl.col("posted_by") == pl.col("author_id"),
    )


def _author_of_post(events: pl.DataFrame, posts: pl.DataFrame | None) -> pl.Series:
    if posts is None:
        return pl.Series("posted_by", [None], pl.Int64).new_from_index(0, events.height)
    authors = posts.select("post_id", posted_by="author_id").unique("post_id", keep="first")
    return events.select("post_id").join(authors, on="post_id", how="left", maintain_order="left")["posted_by"]


def _known(events: pl.DataFrame, users: pl.DataFrame | None) -> pl.Series:
    if users is None:
        return pl.Series([None], dtype=pl.Boolean).new_from_index(0, events.height)
    return events["user_id"].is_in(users["user_id"].implode())


def _same_exposure(events: pl.DataFrame, impression: pl.Expr) -> pl.Series:
    """True where the event's own user, post and request hold an impression."""
    key = ["request_id", "user_id", "post_id"]
    dated = events.select(key).with_row_index("row").filter(pl.col("request_id").is_not_null())
    shown = events.filter(impression & pl.col("request_id").is_not_null()).select(key).unique()
    rows = dated.join(shown, on=key, how="semi")["row"]
    exposed = pl.Series([False], dtype=pl.Boolean).new_from_index(0, events.height)
    return exposed.scatter(rows, True)
