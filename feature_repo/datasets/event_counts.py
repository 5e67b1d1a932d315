"""How many dated events lie in each minute, or in each hour where there are many minutes: what splits are chosen from."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from feature_repo.contracts import HISTORY_BEFORE

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MINUTES_KEPT = 100_000  # more than this many minutes span many days, and hours are fine enough
_MERGED_AFTER = 64  # counts of this many batches are added up at once


class EventCounts:
    """Counts of events by local time; memory does not grow with the events."""

    def __init__(self, day_offset: timedelta) -> None:
        self.day_offset = day_offset
        self.unit = MINUTE
        self._counts: list[pl.DataFrame] = []

    def add(self, events: pl.DataFrame) -> None:
        """Count the dated of `events` (columns product, occurred_at)."""
        dated = events.lazy().filter(pl.col("product") != HISTORY_BEFORE)
        self.add_counts(dated.select(_block("occurred_at", self.day_offset, self.unit)).group_by("block").len().collect())

    @staticmethod
    def of(events: pl.LazyFrame, day_offset: timedelta) -> EventCounts:
        """Counts of all `events`, read as a stream."""
        times = EventCounts(day_offset)
        dated = events.filter(pl.col("product") != HISTORY_BEFORE)
        minutes = dated.select(_block("occurred_at", day_offset, MINUTE)).group_by("block").len()
        times.add_counts(minutes.collect(engine="streaming"))
        return times

    def add_counts(self, counts: pl.DataFrame) -> None:
        """Add counts (columns block, len) by the present unit."""
        self._counts.append(counts)
        if len(self._counts) >= _MERGED_AFTER:
            self._merge()

    def by(self, unit: timedelta) -> tuple[np.ndarray, np.ndarray]:
        """Local blocks of `unit` that hold events, ascending, as numbers since 1970 (int64), and their counts (int64)."""
        merged = self._merge()
        if unit < self.unit:
            raise ValueError(f"times were counted by {self.unit}; they cannot be told by {unit}")
        blocks = merged.select(pl.col("block") // (unit // self.unit), pl.col("len").cast(pl.Int64))
        summed = blocks.group_by("block").sum().sort("block")
        return summed["block"].to_numpy(), summed["len"].to_numpy()

    def _merge(self) -> pl.DataFrame:
        empty = pl.DataFrame(schema={"block": pl.Int64, "len": pl.UInt32})
        merged = pl.concat([empty, *self._counts], how="vertical_relaxed").group_by("block").agg(pl.col("len").sum())
        if self.unit == MINUTE and merged.height > MINUTES_KEPT:
            self.unit = HOUR
            merged = merged.group_by(pl.col("block") // (HOUR // MINUTE)).agg(pl.col("len").sum())
        self._counts = [merged]
        return merged


def _block(column: str, day_offset: timedelta, unit: timedelta) -> pl.Expr:
    local_us = pl.col(column).dt.epoch("us") + day_offset // timedelta(microseconds=1)
    return (local_us // (unit // timedelta(microseconds=1))).alias("block")
