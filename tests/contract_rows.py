"""Small valid contract tables for tests that break them on purpose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from feature_repo.contracts import HISTORY_BEFORE, TABLES, check_table

START = datetime(2024, 5, 1, tzinfo=UTC)


def contract_rows(exposures: int = 300) -> dict[str, pl.DataFrame]:
    """The four tables: `exposures` impressions of 40 users on 60 posts, every third clicked, each with a dwell."""
    return {"events": _events(exposures), "posts": _posts(), "users": _users(), "edges": _edges()}


def broken(table: pl.DataFrame, column: str, value: object, row: int = 0) -> pl.DataFrame:
    """`table` with `value` in `column` at `row`."""
    here = pl.int_range(pl.len()) == row
    replacement = pl.lit(value, dtype=table.schema[column])
    return table.with_columns(pl.when(here).then(replacement).otherwise(pl.col(column)).alias(column))


def _table(name: str, rows: list[dict]) -> pl.DataFrame:
    filled = [{column: row.get(column) for column in TABLES[name].names} for row in rows]
    schema = pl.from_arrow(TABLES[name].empty_table()).schema
    return pl.from_arrow(check_table(name, pl.DataFrame(filled, schema=schema)))


def _events(exposures: int) -> pl.DataFrame:
    rows = []
    for i in range(exposures):
        post = i % 60
        exposure = {
            "user_id": i % 40,
            "post_id": post,
            "author_id": 1000 + post % 7,
            "product": "for_you",
            "position": i % 5,
            "propensity": 0.25,
            "request_id": f"r{i}",
            "occurred_at": START + timedelta(minutes=i),
        }
        rows.append({**exposure, "event_id": f"{i}-impression", "action": "impression"})
        rows.append({**exposure, "event_id": f"{i}-dwell", "action": "dwell", "value": 1500.0})
        if i % 3 == 0:
            rows.append({**exposure, "event_id": f"{i}-click", "action": "click"})
    undated = {
        "user_id": 1,
        "post_id": 2,
        "author_id": 1002,
        "product": HISTORY_BEFORE,
        "occurred_at": START - timedelta(days=1),
    }
    rows.append({**undated, "event_id": "h-1-like-0", "action": "like", "position": 0})
    return _table("events", rows)


def _posts() -> pl.DataFrame:
    created = START - timedelta(days=3)
    return _table(
        "posts",
        [
            {
                "post_id": post,
                "author_id": 1000 + post % 7,
                "created_at": created,
                "topics": [post % 5],
                "media": "video",
                "duration_ms": 9000,
                "embedding": [post % 5 / 4, 1.0, 0.5],
            }
            for post in range(60)
        ],
    )


def _users() -> pl.DataFrame:
    return _table(
        "users", [{"user_id": user, "followers": user, "following": 3, "attributes": [user % 4, 0, 1]} for user in range(40)]
    )


def _edges() -> pl.DataFrame:
    return _table(
        "edges",
        [
            {
                "user_id": user,
                "target_id": 1000 + user % 7,
                "kind": "follow",
                "weight": 1.0,
                "derived": True,
                "created_at": START,
            }
            for user in range(40)
        ],
    )
