"""Events through the stream engine, for comparisons with the batch engine."""

from __future__ import annotations

import polars as pl

from feature_repo.aggregates.stream_engine import StreamEngine
from feature_repo.aggregates.stream_events import StreamEvents


def streamed(events: pl.DataFrame, batch: int) -> StreamEngine:
    """An engine that has folded `events` (columns of `event_log.read_events`) in micro-batches of `batch`, in their order."""
    engine = StreamEngine(threads=2, most_cells=1 << 20)
    for start in range(0, events.height, batch):
        part = events.slice(start, batch)
        engine.fold(StreamEvents.of(part, part["topic"].to_numpy()))
    return engine
