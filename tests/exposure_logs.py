"""Small logs of exposures and actions, and what each engine makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from feature_repo.aggregates.event_messages import EVENT_SCHEMA
from feature_repo.aggregates.stream_events import StreamEvents
from feature_repo.aggregates.stream_histories import StreamHistories, stored_exposures
from feature_repo.exposures import ExposureLog
from feature_repo.history import newest_exposures, stored_histories

START = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = 3_600_000_000  # microseconds
FAR_US = np.iinfo(np.int64).max


def log_of(rows: list[dict]) -> pl.DataFrame:
    """Events (columns of `event_log.read_events` and of the contract) from `rows`, whose `at` counts from START."""
    rows = [
        {**row, "event_id": f"e{number}", "author_id": 5, "occurred_at": START + timedelta(microseconds=row["at"])}
        for number, row in enumerate(rows)
    ]
    events = pl.DataFrame([{name: row.get(name) for name in EVENT_SCHEMA} for row in rows], schema=EVENT_SCHEMA)
    return events.with_columns(at=pl.col("occurred_at").dt.epoch("us"), topic=pl.lit(2, pl.Int32))


def streamed(events: pl.DataFrame, order: Sequence[int], cuts: list[int]) -> StreamHistories:
    """What the stream engine holds after `events` came in this `order`, in parts that end at `cuts`."""
    histories, coming = StreamHistories(100), StreamEvents.of(events, events["topic"].to_numpy())
    edges = [0, *sorted(cut for cut in cuts if cut < len(order)), len(order)]
    for start, end in zip(edges, edges[1:], strict=False):
        histories.fold(coming.take(np.array(order[start:end], np.int64)))
    return histories


def stored_by_stream(histories: StreamHistories, user: int) -> list[int]:
    rows = histories.rows_of(np.array([user]))
    return [] if rows[0] < 0 else stored_exposures(histories.rows[rows])[0].tolist()


def stored_by_batch(log: ExposureLog, user: int) -> list[int]:
    if len(log) == 0:
        return []
    return stored_histories(log, newest_exposures(log, np.array([user]), np.array([FAR_US])))[0].to_list()
