"""Incoming events put where they belong: what was lived through into the lake, what is held out into the holdout."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import numpy as np
import polars as pl

from feature_repo.contracts import HISTORY_BEFORE, Action
from feature_repo.datasets.incoming_events import IncomingEvents
from feature_repo.datasets.repeats import FirstCopies
from feature_repo.datasets.splits import Splits
from feature_repo.lake import Lake

DAYS_AT_ONCE = 2  # written by threads of their own; each holds a piece of its day

_ACTIONS = pl.Enum([action.value for action in Action])
_COUNTED = ["action", "product", "occurred_at"]
_UNDATED = pl.col("product") == HISTORY_BEFORE


@dataclass
class PublishedEvents:
    """What was published, each event_id once."""

    rows_per_day: dict[date, int] = field(default_factory=dict)
    lake_days: set[date] = field(default_factory=set)
    holdout_days: set[date] = field(default_factory=set)
    rows_per_action: Counter[str] = field(default_factory=Counter)
    rows_per_split: Counter[str] = field(default_factory=Counter)  # dated events by part, and "none" for those in no part
    lake_events: int = 0
    holdout_events: int = 0
    history_events: int = 0

    def add_day(self, day: date, counts: _DayCounts) -> None:
        """Add what was written of `day`."""
        if counts.past + counts.ahead:
            self.rows_per_day[day] = counts.past + counts.ahead
        self.lake_days |= {day} if counts.past else set()
        self.holdout_days |= {day} if counts.ahead else set()
        self.lake_events += counts.past
        self.holdout_events += counts.ahead
        self.history_events += counts.undated
        self.rows_per_action.update(counts.actions)
        self.rows_per_split.update(counts.parts)


@dataclass
class _DayCounts:
    past: int = 0
    ahead: int = 0
    undated: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)

    def count(self, rows: pl.DataFrame, splits: Splits) -> None:
        codes = rows["action"].cast(_ACTIONS).to_physical().to_numpy()
        found = np.bincount(codes, minlength=len(_ACTIONS.categories)).tolist()
        self.actions.update({name: count for name, count in zip(_ACTIONS.categories, found, strict=True) if count})
        at = pl.col("occurred_at")
        within = {
            name: ~_UNDATED & (at < end) & (pl.lit(True) if start is None else at >= start)
            for name, (start, end) in splits.part_names().items()
        }
        found = rows.select(_UNDATED.sum().alias("undated"), *(e.sum().alias(n) for n, e in within.items())).row(0, named=True)
        parts = {name: found[name] for name in within}
        self.undated += found["undated"]
        self.parts.update({**parts, "none": rows.height - found["undated"] - sum(parts.values())})


def publish_events(
    incoming: IncomingEvents, first_copies: FirstCopies, splits: Splits, part: str, lake: Lake, holdout: Lake, *, hold_out: bool
) -> PublishedEvents:
    """Write every day's events as part `part`, and remove what that part held on other days.

    With `hold_out`, dated events from `splits.train_end` on go to `holdout`; else everything goes to `lake`.
    """
    lived = _UNDATED | (pl.col("occurred_at") < splits.train_end) if hold_out else None
    days = incoming.days()
    write = partial(_write_day, incoming, first_copies, splits, part, lake, holdout, lived)
    found = PublishedEvents()
    # Which copy of a repeated event stays depends on the order of the days.
    with ThreadPoolExecutor(1 if first_copies.any_repeated else DAYS_AT_ONCE) as pool:
        for day, counts in zip(days, pool.map(write, days), strict=True):
            found.add_day(day, counts)
    lake.keep_days(part, found.lake_days)
    holdout.keep_days(part, found.holdout_days)
    return found


def _write_day(
    incoming: IncomingEvents,
    first_copies: FirstCopies,
    splits: Splits,
    part: str,
    lake: Lake,
    holdout: Lake,
    lived: pl.Expr | None,
    day: date,
) -> _DayCounts:
    counts = _DayCounts()
    with lake.day_file(day, part) as past, holdout.day_file(day, part) as ahead:
        if lived is None and not first_copies.any_repeated:
            for table in incoming.day_tables(day):
                counts.count(pl.from_arrow(table.select(_COUNTED)), splits)
                past.add_table(table)
            counts.past = past.rows
            return counts
        for piece in incoming.day(day):
            rows = first_copies.of(piece)
            counts.count(rows, splits)
            kept = rows if lived is None else rows.filter(lived)
            past.add(kept)
            if kept.height < rows.height:
                ahead.add(rows.filter(~lived))
    counts.past, counts.ahead = past.rows, ahead.rows
    return counts
