"""Entity keys as Feast stores them (serialisation version 3), for whole columns of int64 ids."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

_STRING, _INT64 = 2, 4  # numbers of Feast's ValueType


def entity_keys(names: Sequence[str], ids: Sequence[np.ndarray]) -> list[bytes]:
    """The serialised key of every row.

    names: join keys; ids: an int64 (n,) array for each, in the same order. Feast sorts a key's parts by join key.
    """
    if len(names) != len(ids):
        raise ValueError(f"{len(ids)} id columns were given for the join keys {list(names)}")
    parts = sorted(zip(names, ids, strict=True), key=lambda part: part[0])
    head = struct.pack("<I", len(parts)) + b"".join(_text(name) for name, _ in parts)
    rows = len(ids[0])
    laid_out = np.empty(rows, [("head", f"V{len(head)}"), *((name, _ID) for name, _ in parts)])
    laid_out["head"] = np.void(head)
    for name, column in parts:
        laid_out[name]["kind"] = _INT64
        laid_out[name]["length"] = 8
        laid_out[name]["id"] = np.asarray(column, np.int64)
    width, joined = laid_out.itemsize, laid_out.tobytes()
    return [joined[at : at + width] for at in range(0, rows * width, width)]


def stored_order(names: Sequence[str], ids: Sequence[np.ndarray]) -> np.ndarray:
    """Row numbers in the order of the serialised keys: an index that is written in its own order is written fast."""
    parts = sorted(zip(names, ids, strict=True), key=lambda part: part[0])
    # Ids are stored little-endian and compared byte by byte: as the unsigned number of their bytes reversed.
    return np.lexsort([np.asarray(column, np.int64).byteswap().view(np.uint64) for _, column in reversed(parts)])


_ID = np.dtype([("kind", "<u4"), ("length", "<u4"), ("id", "<i8")])


def _text(name: str) -> bytes:
    encoded = name.encode()
    return struct.pack("<II", _STRING, len(encoded)) + encoded
