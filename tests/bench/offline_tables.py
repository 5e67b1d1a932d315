"""Offline tables of any size with drawn values, for measuring what moves them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.aggregates.cells import CELL
from feature_repo.aggregates.ranking_state import STATE_WIDTH
from feature_repo.feature_rows import HISTORY_LENGTH
from feature_repo.history import STORED_COLUMNS
from feature_repo.offline_files import COMPRESSION, TIMESTAMP, source_file
from feature_repo.view_schemas import Kind, ViewSchema

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
END = FIRST + timedelta(days=10)  # rows are stamped before and after it
CELLS_OF_A_KEY = 2
_WIDTHS = {
    Kind.BYTES: CELLS_OF_A_KEY * CELL.itemsize,
    Kind.FLOATS: STATE_WIDTH,
    Kind.INTS: HISTORY_LENGTH * len(STORED_COLUMNS),
}


def write_offline_table(features: Path, view: ViewSchema, keys: int, seed: int = 1) -> None:
    """Write an offline table of `view` under `features`: for each key an older row, a newer row and one after END."""
    random = np.random.default_rng(seed)
    file = source_file(features, view.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    ids = {view.ids[0]: np.arange(keys), **{name: random.integers(0, 24, keys) for name in view.ids[1:]}}
    begun_us = round(FIRST.timestamp() * 1e6)
    with pq.ParquetWriter(file, _schema(view), compression=COMPRESSION) as writer:
        for day in (0, 5, 11):
            stamps = begun_us + day * 86_400_000_000 + random.integers(0, 86_400_000_000, keys)
            values = {feature.name: _drawn(feature.kind, keys, random) for feature in view.features}
            columns = {**ids, **values, TIMESTAMP: pa.array(stamps, pa.timestamp("us", "UTC"))}
            writer.write_table(pa.table(columns, _schema(view)))


def _schema(view: ViewSchema) -> pa.Schema:
    types = {
        Kind.BYTES: pa.binary(),
        Kind.INT64: pa.int64(),
        Kind.FLOATS: pa.list_(pa.float32()),
        Kind.INTS: pa.list_(pa.int64()),
    }
    return pa.schema(
        [
            *((name, pa.int64()) for name in view.ids),
            *((feature.name, types[feature.kind]) for feature in view.features),
            (TIMESTAMP, pa.timestamp("us", "UTC")),
        ]
    )


def _drawn(kind: Kind, rows: int, random: np.random.Generator) -> pa.Array:
    if kind is Kind.INT64:
        return pa.array(random.integers(0, 2**50, rows))
    width = _WIDTHS[kind]
    borders = pa.array(np.arange(rows + 1) * width, pa.int32())
    if kind is Kind.BYTES:
        # Half of it zeros, as cells are.
        drawn = random.integers(0, 256, (rows, width), np.uint8)
        drawn[:, width // 2 :] = 0
        return pa.Array.from_buffers(pa.binary(), rows, [None, borders.buffers()[1], pa.py_buffer(drawn.tobytes())])
    if kind is Kind.FLOATS:
        return pa.ListArray.from_arrays(borders, pa.array(random.gamma(0.5, 20.0, rows * width).astype(np.float32)))
    return pa.ListArray.from_arrays(borders, pa.array(random.integers(-1, 10**6, rows * width)))
