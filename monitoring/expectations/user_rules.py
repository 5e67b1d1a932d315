"""Rules of the `users` table."""

from __future__ import annotations

import polars as pl

from monitoring.expectations.rule import Rule, Severity, between, holds, not_null, row_count_at_least, unique


def user_rules() -> tuple[Rule, ...]:
    """Rules of `users`. Attribute codes: -1 is the contract's "unknown"; other negative codes are a source's sentinels."""
    attributes = pl.col("attributes")
    return (
        not_null("user_id", "a user without an id cannot be served"),
        between("user_id", 0, None, "ids are not negative"),
        unique(["user_id"], "a user is described once"),
        between("followers", 0, None, "a count is not negative"),
        between("following", 0, None, "a count is not negative"),
        holds("attributes_is_a_list", attributes.is_not_null(), "no attribute is an empty list, not a null"),
        holds(
            "attributes_have_one_width",
            attributes.list.len() == attributes.list.len().mode().max(),
            "a code's meaning is its place, so every user has the same number of them",
        ),
        holds(
            "attribute_codes_known",
            attributes.list.min() >= -1,
            "a code below -1 is a sentinel of the source that the adapter did not map to unknown",
            Severity.SOFT,
            mostly=0.99,
        ),
        holds(
            "attributes_mostly_given",
            attributes.list.eval(pl.element() < 0).list.sum() * 2 <= attributes.list.len(),
            "a user whose attributes are mostly unknown is close to a cold start",
            Severity.SOFT,
            mostly=0.9,
        ),
        row_count_at_least(1, "features need users"),
    )
