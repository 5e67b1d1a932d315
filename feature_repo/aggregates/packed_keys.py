"""The packed vector of a key: the bytes of its cells, back to back in measure order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_repo.aggregates.cells import CELL


@dataclass(frozen=True)
class PackedKeys:
    """n keys, sorted by (a, b)."""

    a: np.ndarray  # int64 (n,)
    b: np.ndarray  # int64 (n,), 0 in families of one id
    packed: pa.Array  # binary (n,): np.frombuffer(value, CELL)
    updated_at: np.ndarray  # int64 (n,), time of the newest event in microseconds


def pack_keys(cells: np.ndarray) -> PackedKeys:
    """Pack CELL (m,), in any order, into one value a key. Raises ValueError where they are more than one Arrow array holds."""
    if cells.nbytes >= 2**31:
        raise ValueError(f"{len(cells):,} cells are {cells.nbytes:,} bytes, too many for one array; pack a part at a time")
    cells = cells[np.lexsort((cells["measure"], cells["b"], cells["a"]))]
    first = np.flatnonzero(_differs(cells["a"]) | _differs(cells["b"]))
    offsets = (np.append(first, len(cells)) * CELL.itemsize).astype(np.int32)
    packed = pa.Array.from_buffers(pa.binary(), len(first), [None, pa.py_buffer(offsets), pa.py_buffer(cells)])
    newest = np.maximum.reduceat(cells["newest_us"], first) if len(first) else np.zeros(0, np.int64)
    return PackedKeys(cells["a"][first], cells["b"][first], packed, newest)


def _differs(ids: np.ndarray) -> np.ndarray:
    """True where an id is another than the one before it, bool (n,)."""
    differs = np.ones(len(ids), bool)
    differs[1:] = ids[1:] != ids[:-1]
    return differs
