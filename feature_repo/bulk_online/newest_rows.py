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

    Of rows with the same stamp the later one in the file counts. Values are read only where a batch of the file has a row
    that counts, so memory holds the ids of all keys but the values of one batch.
    """
    wanted = _newest_places(table, schema, end)
    columns = [*schema.ids, *(feature.name for feature in schema.features), TIMESTAMP]
    first = 0
    for batch in pq.ParquetFile(table).iter_batches(BATCH_ROWS, columns=columns):
        begin, stop = np.searchsorted(wanted, [first, first + len(batch)])
        if stop > begin:
            yield _keyed(batch.take(pa.array(wanted[begin:stop] - first)), schema)
        first += len(batch)


def _newest_places(table: Path, schema: ViewSchema, end: datetime) -> np.ndarray:
    """Row numbers of the rows that count, ascending, int64."""
    ids = list(schema.ids)
    return (
        pl.scan_parquet(table)
        .select(*ids, pl.col(TIMESTAMP).dt.epoch("us").alias(_STAMP))
        .with_row_index(_PLACE)
        .filter(pl.col(_STAMP) <= round(end.timestamp() * 1e6))
        # The greatest (stamp, place) of each key.
        .group_by(ids)
        .agg(pl.col(_PLACE).filter(pl.col(_STAMP) == pl.col(_STAMP).max()).max())
        .select(pl.col(_PLACE).cast(pl.Int64).sort())
        .collect()
        .to_series()
        .to_numpy()
    )


def _keyed(rows: pa.RecordBatch, schema: ViewSchema) -> KeyedRows:
    stamps = rows.column(TIMESTAMP).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return KeyedRows(
        [rows.column(name).to_numpy().astype(np.int64, copy=False) for name in schema.ids],
        {feature.name: rows.column(feature.name) for feature in schema.features},
        stamps,
    )
