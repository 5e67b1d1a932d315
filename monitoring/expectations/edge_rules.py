"""Rules of the `edges` table."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from feature_repo.contracts import EdgeKind
from monitoring.expectations.rule import Rule, Severity, between, holds, not_null, one_of, unique


def edge_rules(latest: datetime, earliest: datetime) -> tuple[Rule, ...]:
    """Rules of `edges`; no edge may be newer than `latest` or older than `earliest`."""
    return (
        between("user_id", 0, None, "ids are not negative"),
        between("target_id", 0, None, "ids are not negative"),
        not_null("kind", "follow and block are opposites"),
        one_of("kind", [kind.value for kind in EdgeKind], "an unknown relation has no filter and no source"),
        unique(["user_id", "target_id", "kind"], "a relation stands once"),
        holds("weight_is_finite", pl.col("weight").is_finite(), "weights are summed"),
        between("weight", 0, None, "a relation has no negative strength; dislike is a kind of its own"),
        between("created_at", earliest, latest, "a time outside the platform's life is a unit mistake"),
        not_null("derived", "a declared relation and an inferred one are shown differently"),
        holds(
            "not_to_oneself",
            pl.col("derived") | (pl.col("user_id") != pl.col("target_id")),
            "nobody follows or blocks themselves; in derived edges the id spaces of users and authors may differ",
            Severity.SOFT,
        ),
    )
