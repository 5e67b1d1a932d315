"""Rules of the `events` table."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from feature_repo.contracts import HISTORY_BEFORE, Action
from monitoring.expectations.rule import Rule, Severity, between, holds, not_null, one_of, share_between, unique

# Actions whose `value` is a measured time in milliseconds: without it the row says nothing.
MEASURED = (Action.DWELL.value, Action.VIDEO_VIEW.value)

DAY_MS = 86_400_000


def event_rules(latest: datetime, earliest: datetime) -> tuple[Rule, ...]:
    """Rules of `events`; no event may lie after `latest` or before `earliest`. They read the columns of `with_references`."""
    return (*_identity(latest, earliest), *_values(), *_plausibility())


def _identity(latest: datetime, earliest: datetime) -> tuple[Rule, ...]:
    return (
        holds(
            "event_id_given",
            pl.col("event_id").is_not_null() & (pl.col("event_id") != ""),
            "an event without an id cannot be de-duplicated",
        ),
        unique(["event_id"], "an event counts once, however often it was delivered"),
        not_null("user_id", "an event belongs to a user"),
        between("user_id", 0, None, "ids are not negative"),
        not_null("post_id", "an event belongs to a post"),
        between("post_id", 0, None, "ids are not negative"),
        not_null("author_id", "author features are counted under the author"),
        not_null("occurred_at", "features are as of a time"),
        between("occurred_at", earliest, latest, "a time outside the platform's life is a unit mistake"),
        one_of("action", [action.value for action in Action], "an unknown action has no head and no counter"),
        not_null("action", "an event says what happened"),
        not_null("product", "rates differ by product, so every exposure names its own"),
    )


def _values() -> tuple[Rule, ...]:
    action, value = pl.col("action").cast(pl.String), pl.col("value")
    undated = pl.col("product").cast(pl.String) == HISTORY_BEFORE
    return (
        holds("value_is_finite", value.is_finite(), "an infinite value would spoil every sum it enters"),
        between("value", 0, None, "a measured time is not negative"),
        holds(
            "measured_action_has_value",
            ~action.is_in([Action.DWELL.value]) | value.is_not_null(),
            "dwell is its value: milliseconds",
        ),
        between("position", 0, None, "positions count from 0"),
        holds(
            "propensity_in_unit_interval",
            (pl.col("propensity") > 0) & (pl.col("propensity") <= 1),
            "off-policy estimates divide by it",
        ),
        holds(
            "undated_history_has_position",
            ~undated | pl.col("position").is_not_null(),
            "undated history has no other order than its position",
        ),
    )


def _plausibility() -> tuple[Rule, ...]:
    action = pl.col("action").cast(pl.String)
    undated = pl.col("product").cast(pl.String) == HISTORY_BEFORE
    return (
        holds(
            "value_within_a_day",
            ~action.is_in(MEASURED) | (pl.col("value") <= DAY_MS),
            "nobody watches one post for a day; above it the unit is wrong",
            Severity.SOFT,
            mostly=0.999,
        ),
        holds(
            "post_is_known",
            pl.col("post_known"),
            "a post that is not in `posts` has no features",
            Severity.SOFT,
            mostly=0.99,
            needs=["posts"],
        ),
        holds(
            "author_agrees_with_post",
            pl.col("author_agrees"),
            "the event's author is the post's author",
            Severity.SOFT,
            mostly=0.999,
            needs=["posts"],
        ),
        holds(
            "user_is_known",
            pl.col("user_known"),
            "a user outside `users` is a cold start",
            Severity.SOFT,
            mostly=0.9,
            needs=["users"],
        ),
        holds(
            "dated_event_has_request",
            undated | pl.col("request_id").is_not_null(),
            "labels join an engagement to its exposure by the request",
            Severity.SOFT,
            mostly=0.99,
            needs=["requests"],
        ),
        holds(
            "engagement_has_impression",
            undated | pl.col("request_id").is_null() | pl.col("exposed"),
            "an engagement without its exposure inflates rates",
            Severity.SOFT,
            mostly=0.99,
            needs=["impressions", "requests"],
        ),
        share_between(
            "impression_share",
            action == Action.IMPRESSION.value,
            0.1,
            0.98,
            "near 1: engagements are lost on the way; near 0: exposures are",
            needs=["impressions"],
        ),
    )
