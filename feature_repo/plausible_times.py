"""Which event times of files are believed: not before the owner's bound, not after the present.

Live events have bounds of their own, around their broker's clock: see event_times.py.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from feature_repo.contracts import SplitEvents

# Earliest moment believed where a dataset sets no bound of its own. An earlier time is nearly always a mistaken unit
# (seconds read as milliseconds) or an empty field read as the epoch.
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)

# Clocks of clients and servers differ: a time this far ahead of the present is still believed.
CLOCK_SKEW = timedelta(hours=1)


def latest_plausible(now: datetime | None = None) -> datetime:
    """The last moment that is believed at `now`, by default the present."""
    return (now or datetime.now(UTC)) + CLOCK_SKEW


def part_implausible(split: SplitEvents, earliest: datetime, latest: datetime) -> SplitEvents:
    """`split` with the good events before `earliest` or after `latest` moved to the dead ones, with the reason."""
    first, last = split.good["occurred_at"].min(), split.good["occurred_at"].max()
    if first is None or (first >= earliest and last <= latest):
        return split
    at = pl.col("occurred_at")
    early = f"occurred_at is before {earliest:%Y-%m-%d}, the earliest time that this dataset allows"
    late = f"occurred_at is after the moment of ingestion (more than {CLOCK_SKEW // timedelta(hours=1)} h ahead)"
    reason = pl.when(at < earliest).then(pl.lit(early)).when(at > latest).then(pl.lit(late))
    marked = split.good.with_columns(reason=reason)
    dead = marked.filter(pl.col("reason").is_not_null())
    return SplitEvents(
        good=marked.filter(pl.col("reason").is_null()).drop("reason"),
        dead=pl.concat([split.dead, dead], how="diagonal_relaxed"),
    )
