"""One Parquet file of the lake, written piece by piece: it appears when it is whole, or not at all."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from infra.storage import replace_atomically

ROW_GROUP_ROWS = 250_000  # rows that are held before they are written

# Columns of few different values. Of any other a dictionary is made in vain: it costs time and saves no room.
_FEW_VALUES = ("action", "product", "position", "release", "reason", "source_file", "source_column")

# Differences of times and lengths of texts are smaller than what zstd makes of the values themselves, and quicker.
_ENCODINGS = {
    "occurred_at": "DELTA_BINARY_PACKED",
    "event_id": "DELTA_LENGTH_BYTE_ARRAY",
    "request_id": "DELTA_LENGTH_BYTE_ARRAY",
}


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    """How a file of `schema` is written. Only times are filtered by, so only they have statistics."""
    return {
        "compression": "zstd",
        "use_dictionary": [name for name in _FEW_VALUES if name in schema.names],
        "column_encoding": {name: encoding for name, encoding in _ENCODINGS.items() if name in schema.names},
        "write_statistics": ["occurred_at"],
        "data_page_size": 4 << 20,  # a fifth quicker than with the default of a MiB; nobody reads single pages
    }


class PartFile:
    """Rows of `schema` on their way to `target`. Without any row, a file that stood there before is removed.

    Used as a context manager; an exception inside leaves what stood there before.
    """

    def __init__(self, target: Path, schema: pa.Schema) -> None:
        self.target, self.schema = target, schema
        self.rows = 0
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._open = ExitStack()
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows that have the columns of the schema."""
        if not rows.is_empty():
            self.add_table(rows.select(self.schema.names).to_arrow().cast(self.schema))

    def add_table(self, rows: pa.Table) -> None:
        """Add rows that are of the schema."""
        if not rows.num_rows:
            return
        self._held.append(rows)
        self._held_rows += rows.num_rows
        self.rows += rows.num_rows
        if self._held_rows >= ROW_GROUP_ROWS:
            self._write()

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._open.__exit__(kind, error, trace)
            return
        with self._open:
            if self._held:
                self._write()
        if not self.rows:
            self.target.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._writer is None:
            temporary = self._open.enter_context(replace_atomically(self.target))
            self._writer = self._open.enter_context(pq.ParquetWriter(temporary, self.schema, **_encoding(self.schema)))
        self._writer.write_table(pa.concat_tables(self._held).combine_chunks(), row_group_size=ROW_GROUP_ROWS)
        self._held, self._held_rows = [], 0
