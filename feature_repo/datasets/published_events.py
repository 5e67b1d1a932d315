"""Incoming events put where they belong: what was lived through into the lake, what is held out into the holdout."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.datasets.incoming_events import IncomingEvents
from feature_repo.datasets.repeats import FirstCopies
from feature_repo.datasets.splits import Splits
from feature_repo.lake import Lake

_UNDATED = pl.col("product") == HISTORY_BEFORE


@dataclass
class PublishedEvents:
    """What was published, each event_id once."""

    rows_per_day: dict[date, int] = field(default_factory=dict)
    rows_per_action: Counter[str] = field(default_factory=Counter)
    rows_per_split: Counter[str] = field(default_factory=Counter)  # dated events by part, and "none" for those in no part
    lake_events: int = 0
    holdout_events: int = 0
    history_events: int = 0
    repeats: int = 0

    def count(self, rows: pl.DataFrame, splits: Splits) -> None:
        """Add the figures of `rows`."""
        actions = rows.group_by("action").len()
        self.rows_per_action.update(dict(actions.iter_rows()))
        at = pl.col("occurred_at")
        within = {
            name: ~_UNDATED & (at < end) & (pl.lit(True) if start is None else at >= start)
            for name, (start, end) in splits.part_names().items()
        }
        sums = rows.select(
            pl.len().alias("all"), _UNDATED.sum().alias("undated"), *(e.sum().alias(n) for n, e in within.items())
        )
        found = sums.row(0, named=True)
        self.history_events += found["undated"]
        parts = {name: found[name] for name in within}
        self.rows_per_split.update({**parts, "none": found["all"] - found["undated"] - sum(parts.values())})


def publish_events(
    incoming: IncomingEvents, first_copies: FirstCopies, splits: Splits, part: str, lake: Lake, holdout: Lake, *, hold_out: bool
) -> PublishedEvents:
    """Write every day's events as part `part`, and remove what that part held on other days.

    With `hold_out`, dated events from `splits.train_end` on go to `holdout`; else everything goes to `lake`.
    """
    lived = _UNDATED | (pl.col("occurred_at") < splits.train_end) if hold_out else pl.lit(True)
    found = PublishedEvents()
    days: dict[Lake, set[date]] = {lake: set(), holdout: set()}
    for day in incoming.days():
        with lake.day_file(day, part) as past, holdout.day_file(day, part) as ahead:
            for piece in incoming.day(day):
                rows = first_copies.of(piece)
                found.count(rows, splits)
                past.add(rows.filter(lived))
                ahead.add(rows.filter(~lived))
        found.lake_events += past.rows
        found.holdout_events += ahead.rows
        if past.rows + ahead.rows:
            found.rows_per_day[day] = past.rows + ahead.rows
        days[lake] |= {day} if past.rows else set()
        days[holdout] |= {day} if ahead.rows else set()
    for place, written in days.items():
        place.keep_days(part, written)
    found.repeats = first_copies.dropped
    return found
