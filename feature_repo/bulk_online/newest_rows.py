"""The newest row of every key of an offline table at or before a moment, in batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.offline_files import TIMESTAMP
from feature_repo.view_schemas import ViewSchema

BATCH_ROWS = 65_536  # rows in memory at once
_STAMP, _PLACE = "__stamp_us", "__place"


@dataclass(frozen=True)
class KeyedRows:
    """n rows of a view as columns. `ids`: int64 (n,) arrays in the order of the view's id columns; `stamps_us`: int64 (n,)."""

    ids: list[np.ndarray]
    values: dict[str, pa.Array | np.ndarray]
    stamps_us: np.ndarray

    def __len__(self) -> int:
        return len(self.stamps_us)


def newest_rows(table: Path, schema: ViewSchema, end: datetime) -> Iterator[KeyedRows]:
    """Batches that hold, for every key of Parquet file `table`, its newest row stamped at or before `end`.

    Of rows with the same stamp the later one in the file counts. Memory holds the ids and stamps of all rows at most, but the
    values of one batch; row groups without a row that counts are not read.
    """
    wanted = _newest_places(table, schema, end)
    columns = [*schema.ids, *(feature.name for feature in schema.features), TIMESTAMP]
    with pq.ParquetFile(table, memory_map=True) as file:
        first = 0
        for group in range(file.num_row_groups):
            stop = first + file.metadata.row_group(group).num_rows
            begin, end_place = np.searchsorted(wanted, [first, stop])
            if end_place > begin:
                for rows in _chosen(file, group, columns, wanted[begin:end_place] - first):
                    yield _keyed(rows, schema)
            first = stop


def _newest_places(table: Path, schema: ViewSchema, end: datetime) -> np.ndarray:
    """Row numbers of the rows that count, ascending, int64."""
    ids = list(schema.ids)
    return (
        pl.scan_parquet(table)
        .select(*ids, pl.col(TIMESTAMP).dt.epoch("us").alias(_STAMP))
        .with_row_index(_PLACE)
        .filter(pl.col(_STAMP) <= round(end.timestamp() * 1e6))
        .sort(_STAMP, maintain_order=True)
        .unique(ids, keep="last")
        .select(pl.col(_PLACE).cast(pl.Int64).sort())
        .collect()
        .to_series()
        .to_numpy()
    )


def _chosen(file: pq.ParquetFile, group: int, columns: list[str], wanted: np.ndarray) -> Iterator[pa.RecordBatch]:
    """The rows `wanted` (ascending numbers within the row group), batch by batch."""
    first = 0
    # One thread: pyarrow's threads cost more than they bring for batches of this size (measured: twice the time).
    for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False):
        begin, stop = np.searchsorted(wanted, [first, first + len(batch)])
        places = wanted[begin:stop] - first
        if len(places) == len(batch):
            yield batch
        elif len(places):
            yield batch.take(pa.array(places))
        first += len(batch)


def _keyed(rows: pa.RecordBatch, schema: ViewSchema) -> KeyedRows:
    stamps = rows.column(TIMESTAMP).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return KeyedRows(
        [rows.column(name).to_numpy().astype(np.int64, copy=False) for name in schema.ids],
        {feature.name: rows.column(feature.name) for feature in schema.features},
        stamps,
    )
