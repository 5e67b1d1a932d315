"""Feature values as Feast stores them: serialised `feast.types.Value` messages, for whole columns.

A message is a few bytes of head and the raw value behind it, so columns are encoded without building message objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa

from feature_repo.bulk_online.varints import varints
from feature_repo.view_schemas import Kind

# Field number and wire type of each value in `feast.types.Value`; within a list message the values are field 1, packed.
_BYTES_TAG = b"\x0a"  # 1, length-delimited
_INT64_TAG = b"\x20"  # 4, varint
_INT64_LIST_TAG = b"\x72"  # 14, length-delimited
_FLOAT_LIST_TAG = b"\x82\x01"  # 16, length-delimited
_PACKED_TAG = b"\x0a"
_LISTS_AT_ONCE = 1_024  # lists of integers encoded at once: their bytes stay in the processor's cache

Column = Sequence[bytes] | np.ndarray | pa.Array | pa.ChunkedArray


def stored_values(kind: Kind, column: Column) -> list[bytes]:
    """The stored bytes of every row of `column`.

    BYTES: bytes objects, or a binary Arrow array. INT64: int64 (n,). FLOATS, INTS: a 2-D array (n, width), or an Arrow list
    array. Raises ValueError on a null: a feature that is not there is to be left out, not stored.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.Array) and column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} values are null; a stored {kind} value cannot be")
    if kind is Kind.BYTES:
        raw = column.to_pylist() if isinstance(column, pa.Array) else column
        return [_head(_BYTES_TAG, len(one)) + one for one in raw]
    if kind is Kind.INT64:
        return _integers(np.asarray(column, np.int64))
    flat, ends = _lists(column)
    if kind is Kind.FLOATS:
        return _packed_lists(_FLOAT_LIST_TAG, np.ascontiguousarray(flat, "<f4").tobytes(), ends * 4)
    return _integer_lists(flat.astype(np.int64, copy=False), ends)


def _integers(values: np.ndarray) -> list[bytes]:
    encoded, lengths = varints(values)
    ends = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    return [_INT64_TAG + encoded[start:end] for start, end in zip(ends, ends[1:], strict=False)]


def _lists(column: Column) -> tuple[np.ndarray, np.ndarray]:
    """All elements of a list column back to back, and the borders of its rows, int64 (n + 1,)."""
    if isinstance(column, pa.FixedSizeListArray):
        return column.flatten().to_numpy(), np.arange(len(column) + 1) * column.type.list_size
    if isinstance(column, pa.Array):
        borders = column.offsets.to_numpy().astype(np.int64)
        return column.flatten().to_numpy(), borders - borders[0]
    table = np.asarray(column)
    if table.ndim != 2:
        raise ValueError(f"a column of lists is a 2-D array or an Arrow list array, not an array of shape {table.shape}")
    return table.reshape(-1), np.arange(len(table) + 1) * table.shape[1]


def _integer_lists(flat: np.ndarray, borders: np.ndarray) -> list[bytes]:
    out: list[bytes] = []
    for first in range(0, len(borders) - 1, _LISTS_AT_ONCE):
        edges = borders[first : first + _LISTS_AT_ONCE + 1]
        encoded, lengths = varints(flat[edges[0] : edges[-1]])
        ends = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=ends[1:])
        out += _packed_lists(_INT64_LIST_TAG, encoded, ends[edges - edges[0]])
    return out


def _packed_lists(tag: bytes, encoded: bytes, borders: np.ndarray) -> list[bytes]:
    edges = borders.tolist()
    return [_list_head(tag, end - start) + encoded[start:end] for start, end in zip(edges, edges[1:], strict=False)]


@lru_cache(maxsize=65_536)
def _head(tag: bytes, length: int) -> bytes:
    return tag + varints(np.array([length], np.int64))[0]


@lru_cache(maxsize=65_536)
def _list_head(tag: bytes, length: int) -> bytes:
    if length == 0:  # an empty list message has no field at all
        return tag + b"\x00"
    inner = _head(_PACKED_TAG, length)
    return _head(tag, len(inner) + length) + inner
