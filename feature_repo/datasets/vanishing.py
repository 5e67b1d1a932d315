"""Events that an ingestion would drop from the lake, because the dataset's files no longer hold them."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from feature_repo.contracts import HISTORY_BEFORE, Action
from feature_repo.datasets.adapter import DatasetAdapter
from feature_repo.datasets.incoming_events import IncomingEvents
from feature_repo.lake import Lake

# Of a day's events. A person's rows may be erased, and a mapping mended; a file that was replaced takes all of its day along.
MOST_LOST = 0.1
DAYS_NAMED = 3

# An event_id may be made of its row's place in the files: what happened is the same event wherever it stands.
_SAME = ["user_id", "post_id", "action", "occurred_at"]


def vanishing(adapter: DatasetAdapter, incoming: IncomingEvents, *lakes: Lake) -> dict[date, int]:
    """Rows of each day that `lakes` hold of the dataset and `incoming` does not, for days that lose more than MOST_LOST.

    Impressions that the adapter derives or samples are left out: they depend on the rest of the log.
    """
    made = adapter.derived_impressions or adapter.sampled_negatives
    logged = (pl.col("product") != HISTORY_BEFORE) & (pl.lit(not made) | (pl.col("action") != Action.IMPRESSION.value))
    coming = set(incoming.days())
    lost: dict[date, int] = {}
    for day in sorted({day for lake in lakes for day in lake.event_days()}):
        files = [file for lake in lakes if (file := lake.events_part(day, adapter.name)).exists()]
        if not files:
            continue
        held = _hashes(pl.scan_parquet(files, hive_partitioning=False).filter(logged).select(_SAME).collect())
        there = [_hashes(piece.filter(logged).select(_SAME)) for piece in incoming.day(day)] if day in coming else []
        rows = int((~np.isin(held, np.concatenate([np.empty(0, np.uint64), *there]))).sum())
        if rows > MOST_LOST * len(held):
            lost[day] = rows
    return lost


def in_words(lost: dict[date, int]) -> str:
    """Which rows would go and what to do, in one sentence."""
    named = ", ".join(f"{rows:,} of {day}" for day, rows in list(lost.items())[:DAYS_NAMED])
    more = f" and of {len(lost) - DAYS_NAMED} more days" if len(lost) > DAYS_NAMED else ""
    return (
        f"{sum(lost.values()):,} events that were ingested are no longer in the files ({named}{more}): put the files back, set "
        "MIXER_HOME to another folder where this is another dataset, or drop them for good with `mixer run ingest --may-drop` "
        "(MIXER_INGEST_MAY_DROP=true)"
    )


def _hashes(rows: pl.DataFrame) -> np.ndarray:
    """uint64 (n,): a hash of each row."""
    return rows.hash_rows(seed=1).to_numpy()
