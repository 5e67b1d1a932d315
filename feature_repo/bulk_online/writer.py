"""The door of the bulk writers: many rows of one view into whichever online store the settings name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Protocol

import numpy as np

from feature_repo.bulk_online.stored_rows import StoredRows, encode_rows
from feature_repo.bulk_online.stored_values import Column
from feature_repo.view_schemas import PACKED, VIEW_SCHEMAS, aggregates_view
from infra.settings import Settings


class _RowWriter(Protocol):
    def write(self, rows: StoredRows) -> int: ...

    def close(self) -> None: ...


class BulkWriter:
    """Writes rows of any view through one open connection. For one thread."""

    def __init__(self, rows: _RowWriter) -> None:
        self._rows = rows

    def write_rows(self, view: str, ids: Sequence[np.ndarray], values: Mapping[str, Column], stamps_us: np.ndarray) -> int:
        """Write n rows of `view`; returns how many were written.

        ids: int64 (n,) arrays, one for each of the view's id columns, in the order of `view_schemas.VIEW_SCHEMAS[view].ids`.
        values: every feature of the view by name: a list of bytes or a binary Arrow array, an int64 array, a 2-D array, or
        an Arrow list array. stamps_us: event time of each row, int64 (n,) microseconds UTC. A key must not come twice.

        SQLite: one transaction; what a key held is replaced. Redis: a key that holds a row as new or newer keeps it and is
        not counted, batches of rows become visible one after the other. Both as Feast's own writes do.
        Raises ValueError for columns that do not fit the view, KeyError for an unknown view.
        """
        if len(stamps_us) == 0:
            return 0
        return self.write_encoded(encode_rows(VIEW_SCHEMAS[view], ids, values, stamps_us))

    def write_encoded(self, rows: StoredRows) -> int:
        """`write_rows` for rows that are encoded already, by another thread perhaps."""
        return self._rows.write(rows)

    def write_cells(self, family: str, ids: Sequence[np.ndarray], packed: Sequence[bytes], updated_at_us: np.ndarray) -> int:
        """Write the packed cells of n keys of an aggregate family; returns how many keys.

        ids: as in `write_rows`, in the order of Family.ids. packed: the cells of each key, as in feature `packed`.
        updated_at_us: int64 (n,), time of each key's newest event. The rows are stamped one microsecond later, as offline.
        """
        return self.write_rows(aggregates_view(family), ids, {PACKED: packed}, np.asarray(updated_at_us, np.int64) + 1)


@contextmanager
def open_bulk_writer(settings: Settings) -> Iterator[BulkWriter]:
    """A bulk writer into the online store of `settings`, whose connection closes with the block."""
    with closing(_row_writer(settings)) as rows:
        yield BulkWriter(rows)


def write_rows(
    settings: Settings, view: str, ids: Sequence[np.ndarray], values: Mapping[str, Column], stamps_us: np.ndarray
) -> int:
    """`BulkWriter.write_rows` through a connection of its own."""
    with open_bulk_writer(settings) as writer:
        return writer.write_rows(view, ids, values, stamps_us)


def _row_writer(settings: Settings) -> _RowWriter:
    from feature_repo.online_store import PROJECT, online_file

    if settings.online_store == "redis":
        from feature_repo.bulk_online.redis_writer import RedisWriter

        return RedisWriter(settings.redis_url, PROJECT)
    from feature_repo.bulk_online.sqlite_writer import SqliteWriter

    return SqliteWriter(online_file(settings), PROJECT)
