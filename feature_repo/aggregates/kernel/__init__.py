"""The compiled kernel of the aggregate engines, called through ctypes, which gives up Python's lock during every call.

NumPy pays a pass over memory for every column of every family; the kernel updates a whole cell while it is in the cache.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Sequence

import numpy as np

from feature_repo.aggregates.cells import CELL
from feature_repo.aggregates.measures import WINDOWS


class KernelMissing(ImportError):
    """The compiled kernel is not installed, or is another version's."""


class KernelError(RuntimeError):
    """The kernel could not go on; the message says which limit was met."""


NO_MEMORY, TABLE_FULL = -1, -2

_WORD = ctypes.c_uint64
_SIGNED = ctypes.c_int64
_POINTER = ctypes.c_void_p


class StateLayout(ctypes.Structure):
    """Which measures and windows make a ranking state; see `table_states` in cells.c."""

    _fields_ = [
        *((name, _WORD) for name in ("measures", "windows", "sums", "totals", "ages")),
        *((name, _POINTER) for name in ("window", "sum", "total", "age")),
        ("never", ctypes.c_double),
    ]


_FUNCTIONS: dict[str, tuple[type | None, Sequence[type]]] = {
    "cell_bytes": (_WORD, ()),
    "update_bytes": (_WORD, ()),
    "window_span": (_SIGNED, (_WORD,)),
    "prepare": (_WORD, (_WORD, *[_POINTER] * 6)),
    "table_new": (_POINTER, (_WORD,)),
    "table_free": (None, (_POINTER,)),
    "table_cells": (_POINTER, (_POINTER,)),
    "table_used": (_WORD, (_POINTER,)),
    "table_listed": (_WORD, (_POINTER, ctypes.c_int)),
    "table_take": (_WORD, (_POINTER, ctypes.c_int, _POINTER)),
    "table_apply": (_SIGNED, (_POINTER, _WORD, *[_POINTER] * 5)),
    "table_meet": (None, (_POINTER, _POINTER, _WORD, _POINTER, ctypes.c_int, ctypes.c_int, ctypes.c_uint8)),
    "table_find": (None, (_POINTER, _WORD, *[_POINTER] * 4)),
    "table_find_keys": (None, (_POINTER, _WORD, _POINTER, _POINTER, _WORD, _POINTER)),
    "table_states": (None, (_POINTER, _WORD, _POINTER, ctypes.POINTER(StateLayout), _POINTER, _POINTER)),
    "table_restore": (_SIGNED, (_POINTER, _WORD, _POINTER)),
    "fold_moments": (None, (_POINTER, _WORD, *[_POINTER] * 9)),
    "hash_texts": (None, (_WORD, *[_POINTER] * 3)),
    "varints": (_WORD, (_WORD, *[_POINTER] * 3)),
    "id_bytes": (_WORD, ()),
    "ids_new": (_POINTER, (_WORD,)),
    "ids_free": (None, (_POINTER,)),
    "ids_used": (_WORD, (_POINTER,)),
    "ids_kept": (_WORD, (_POINTER,)),
    "ids_all": (_POINTER, (_POINTER,)),
    "ids_keep": (None, (_POINTER,)),
    "ids_add": (_SIGNED, (_POINTER, _WORD, *[_POINTER] * 3)),
    "ids_forget": (_SIGNED, (_POINTER, _SIGNED)),
    "history_bytes": (_WORD, ()),
    "history_most_dwell": (_WORD, ()),
    "histories_new": (_POINTER, (_WORD,)),
    "histories_free": (None, (_POINTER,)),
    "histories_all": (_POINTER, (_POINTER,)),
    "histories_used": (_WORD, (_POINTER,)),
    "histories_listed": (_WORD, (_POINTER, ctypes.c_int)),
    "histories_take": (_WORD, (_POINTER, ctypes.c_int, _POINTER)),
    "histories_unanswered": (_WORD, (_POINTER,)),
    "histories_apply": (_SIGNED, (_POINTER, _WORD, *[_POINTER] * 13)),
    "histories_find": (None, (_POINTER, _WORD, _POINTER, _POINTER)),
    "histories_restore": (_SIGNED, (_POINTER, _WORD, _POINTER)),
    "histories_stored": (None, (_WORD, *[_POINTER] * 4)),
}


def _load() -> ctypes.CDLL:
    found = importlib.util.find_spec(f"{__name__}._kernel")
    if found is None or found.origin is None:
        raise KernelMissing("the compiled kernel is missing; a C compiler and `pip install -e .` (or `make install`) build it")
    library = ctypes.CDLL(found.origin)
    for name, (returns, takes) in _FUNCTIONS.items():
        function = getattr(library, name, None)
        if function is None:
            raise KernelMissing(f"the compiled kernel has no {name}: it is an older one; build it again with `make install`")
        function.restype, function.argtypes = returns, tuple(takes)
    spans = [library.window_span(place) for place in range(len(WINDOWS) + 1)]
    if library.cell_bytes() != CELL.itemsize or spans != [*(window.span_us for window in WINDOWS), -1]:
        raise KernelMissing("the compiled kernel has another cell layout or other windows; build it again with `make install`")
    return library


kernel = _load()


def address(array: np.ndarray | None) -> int | None:
    """Where a contiguous array lies, None for none."""
    if array is None:
        return None
    if not array.flags.c_contiguous:
        raise ValueError(f"the kernel reads contiguous arrays, got strides {array.strides} for {array.shape} of {array.dtype}")
    return array.ctypes.data


def checked(answer: int, table: str) -> int:
    """The kernel's count. Raises KernelError for the limit it met."""
    if answer == TABLE_FULL:
        raise KernelError(f"table {table!r} is full; raise MIXER_STREAM_ROWS, or forget keys that nobody asks for")
    if answer == NO_MEMORY:
        raise KernelError(f"no memory for the index of table {table!r}")
    return answer


def view(start: int, rows: int, dtype: np.dtype) -> np.ndarray:
    """The kernel's own rows, not a copy: valid while their table lives."""
    if rows == 0:
        return np.zeros(0, dtype)
    memory = (ctypes.c_char * (rows * dtype.itemsize)).from_address(start)
    return np.frombuffer(memory, dtype)


SHOWN, SAVED = 0, 1  # the two lists of touched rows that the kernel keeps apart


def take_touched(kind: str, table: int, which: int) -> np.ndarray:
    """Rows touched since the last call for list `which`, uint32; kind: `table` or `histories`."""
    rows = np.empty(getattr(kernel, f"{kind}_listed")(table, which), np.uint32)
    getattr(kernel, f"{kind}_take")(table, which, address(rows))
    return rows


def hash_texts(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """128-bit hashes of n texts: `data` uint8, `offsets` int64 (n + 1,). Returns uint64 (n, 2)."""
    hashes = np.empty((len(offsets) - 1, 2), np.uint64)
    kernel.hash_texts(len(hashes), address(data), address(offsets), address(hashes))
    return hashes
