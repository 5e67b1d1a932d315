"""Parquet files of plain types, read by polars: at a third of what DuckDB takes, as its text is what polars computes with.

Row groups are read whole, so a file with large ones is left to DuckDB, which reads them page by page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

MOST_GROUP_ROWS = 1 << 21
MOST_GROUP_BYTES = 192 << 20  # not compressed, all columns
_PLAIN = (pl.Boolean, pl.String, pl.Date, pl.Float32, pl.Float64)


def plain_spans(file: Path, columns: Sequence[str], batch_rows: int, limit: int | None = None) -> list[int] | None:
    """Rows of each stretch of row groups that is read at once, `limit` in all; None where DuckDB is to read the file.

    `columns` must be there, and of types that DuckDB and polars read alike. Raises PolarsError, OSError or ArrowInvalid.
    """
    schema = pl.read_parquet_schema(file)
    if not columns or not all(name in schema and _plain(schema[name]) for name in columns):
        return None
    with pq.ParquetFile(file) as opened:
        groups = [opened.metadata.row_group(number) for number in range(opened.metadata.num_row_groups)]
    if any(group.num_rows > MOST_GROUP_ROWS or group.total_byte_size > MOST_GROUP_BYTES for group in groups):
        return None
    spans: list[int] = []
    size = 0
    for group in groups:
        if not spans or spans[-1] + group.num_rows > batch_rows or size + group.total_byte_size > MOST_GROUP_BYTES:
            spans.append(0)
            size = 0
        spans[-1] += group.num_rows
        size += group.total_byte_size
    return spans if limit is None else _first(spans, limit)


def _first(spans: Sequence[int], limit: int) -> list[int]:
    """`spans` up to `limit` rows in all."""
    ends = [min(end, limit) for end in accumulate(spans)]
    return [rows for rows in (end - start for start, end in zip([0, *ends], ends, strict=False)) if rows]


def plain_frames(file: Path, columns: Sequence[str], spans: Sequence[int], batch_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of `file` in even frames of about `batch_rows`. Raises PolarsError."""
    scan = pl.scan_parquet(file, glob=False, hive_partitioning=False).select(columns)
    start = 0
    for rows in spans:
        pieces = max(1, round(rows / batch_rows))
        yield from scan.slice(start, rows).collect().iter_slices(max(1, -(-rows // pieces)))
        start += rows


def _plain(kind: pl.DataType) -> bool:
    return kind.is_integer() or isinstance(kind, (pl.Datetime, *_PLAIN))
