"""A dataset of rows given by a test, as an adapter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from feature_repo.contracts import TABLES, SplitEvents, split_events
from feature_repo.datasets.splits import Splits
from feature_repo.plausible_times import EARLIEST

START = datetime(2025, 3, 3, tzinfo=UTC)
SCHEMAS = {name: pl.from_arrow(schema.empty_table()).schema for name, schema in TABLES.items()}


def event(number: int, at: datetime, **changed: object) -> dict:
    """One impression; `changed` replaces columns."""
    row = {
        "event_id": f"e{number}",
        "user_id": number % 7,
        "post_id": number % 11,
        "author_id": number % 3,
        "action": "impression",
        "product": "news",
        "occurred_at": at,
    }
    return {**dict.fromkeys(SCHEMAS["events"]), **row, **changed}


def spread(count: int, over: timedelta, start: datetime = START) -> list[dict]:
    """`count` events at equal distances from `start` on."""
    return [event(number, start + number * over / count) for number in range(count)]


class GivenDataset:
    """Adapter of `rows`, given in batches of `batch` rows."""

    place = "/logs"
    simulated = False
    notes: tuple[str, ...] = ()
    derived_impressions = False
    distinct_ids = False
    sampled_negatives = 0
    repeats = 0
    earliest = EARLIEST

    def __init__(
        self,
        rows: Sequence[dict],
        *,
        name: str = "own",
        label: str = "own events (test)",
        batch: int = 100,
        day_offset: timedelta = timedelta(0),
        splits: Splits | None = None,
    ) -> None:
        self.rows, self.name, self.label, self.batch = rows, name, label, batch
        self.day_offset, self.splits = day_offset, splits

    def refuse_missing(self) -> None:
        """Nothing is missing: it is given."""

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self.rows).encode()).hexdigest()[:16]

    def event_batches(self) -> Iterator[SplitEvents]:
        for start in range(0, len(self.rows), self.batch):
            yield split_events(pl.DataFrame(self.rows[start : start + self.batch], schema=SCHEMAS["events"]))

    def posts(self) -> pl.DataFrame:
        ids = sorted({(row["post_id"], row["author_id"] or 0) for row in self.rows if row["post_id"] is not None})
        rows = [
            {
                **dict.fromkeys(SCHEMAS["posts"]),
                "post_id": post,
                "author_id": author,
                "created_at": START,
                "topics": [],
                "media": "none",
            }
            for post, author in dict(ids).items()
        ]
        return pl.DataFrame(rows, schema=SCHEMAS["posts"])

    def users(self) -> pl.DataFrame:
        ids = sorted({row["user_id"] for row in self.rows if row["user_id"] is not None})
        return pl.DataFrame(
            [{**dict.fromkeys(SCHEMAS["users"]), "user_id": user, "attributes": []} for user in ids], schema=SCHEMAS["users"]
        )

    def left_out(self) -> dict[str, pl.DataFrame]:
        return {}

    def edges(self) -> None:
        return None
