"""Event ids that stand in more than one row: the earliest row is kept, at equal times the first in the files."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from feature_repo.datasets.own.event_rows import EventRows
from feature_repo.datasets.own.reader import RawBatch
from feature_repo.datasets.repeats import first_hash


def repeated_rows(batches: Iterable[RawBatch], rows: EventRows, repeated: np.ndarray) -> dict[str, pl.Series]:
    """By file, the numbers of the rows to leave out. `repeated`: sorted hashes of the ids that stand in two rows or more.

    Only rows that are good events compete, so a broken first copy does not take the place of a sound second one.
    """
    if not len(repeated):
        return {}
    column = rows.columns["event_id"]
    found: list[pl.DataFrame] = []
    for batch in batches:
        given = batch.frame[column].cast(pl.String)
        suspects = pl.Series(np.isin(first_hash(given), repeated)) & given.is_not_null()
        if not suspects.any():
            continue
        chosen = RawBatch(batch.file, batch.frame.filter(suspects), batch.rows.filter(suspects))
        numbered = rows.numbered(chosen)
        found.append(numbered.with_columns(file=pl.lit(batch.file), order=pl.lit(len(found))))
    if not found:
        return {}
    every = pl.concat(found).sort("occurred_at", "order", "source_row", nulls_last=True)
    losers = every.filter(~pl.struct("given_id").is_first_distinct())
    return {file: part["source_row"].sort() for (file,), part in losers.partition_by("file", as_dict=True).items()}


def without(batch: RawBatch, left_out: pl.Series | None) -> RawBatch:
    """The batch without the rows of these numbers."""
    if left_out is None:
        return batch
    kept = ~batch.rows.is_in(left_out.implode())
    return batch if kept.all() else RawBatch(batch.file, batch.frame.filter(kept), batch.rows.filter(kept))
