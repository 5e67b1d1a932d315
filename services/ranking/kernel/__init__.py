"""The compiled heavy ranker, a request's context and its candidates, called through ctypes.

A call gives up Python's lock. A tensor library runs a request's candidates layer by layer, each through memory. The kernel
takes 48 of them, side by side in the lanes of registers, through all layers while they are in the cache; ranker.h says what it
reads. Threads that help are kept from call to call (helpers.h).
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache

import numpy as np

LANES = 16  # every width is a multiple of it
PACK = 8  # outputs that lie together in a packed matrix
MOST_LAYERS = 8
MOST_OUTPUTS = 72

TABLES = 7  # of an exposure: post, author, topic, actions, product, gap, dwell

_NO_MEMORY, _NO_SUCH_ROW = -1, -2


class KernelMissing(ImportError):
    """The compiled kernel is not installed, or is another version's."""


_POINTER = ctypes.c_void_p
_LAYER_WEIGHTS = ("qkv", "qkv_bias", "out", "out_bias", "up", "up_bias", "down", "down_bias")
_WEIGHTS = ("match", "narrow", "narrow_bias", "tower_up", "tower_bias", "last", "last_bias")
_SIZES = ("d", "heads", "layers", "hidden", "ffn", "tower", "matched", "outputs")


class Layer(ctypes.Structure):
    """See ranker.h."""

    _fields_ = [(name, _POINTER) for name in _LAYER_WEIGHTS]


class Ranker(ctypes.Structure):
    """See ranker.h."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in _SIZES),
        *((name, _POINTER) for name in _WEIGHTS),
        ("layer", Layer * MOST_LAYERS),
    ]


class Tables(ctypes.Structure):
    """See ranker.h."""

    _fields_ = [
        ("rows", ctypes.c_int32 * TABLES),
        ("ages", ctypes.c_int32),
        ("table", _POINTER * TABLES),
        ("age_bias", _POINTER * MOST_LAYERS),
    ]


class History(ctypes.Structure):
    """See ranker.h."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("length", "absent")),
        *((name, _POINTER) for name in ("rows", "age", "user")),
    ]


class Context(ctypes.Structure):
    """See ranker.h."""

    _fields_ = [
        ("tokens", ctypes.c_int32),
        *((name, _POINTER * MOST_LAYERS) for name in ("keys", "values", "bias")),
    ]


class Candidates(ctypes.Structure):
    """See ranker.h."""

    _fields_ = [
        ("count", ctypes.c_int64),
        *((name, _POINTER) for name in ("row", "projected", "items", "request_hidden", "request_item", "matches", "logits")),
    ]


@cache
def library() -> ctypes.CDLL:
    """The kernel. Raises KernelMissing, with the remedy, where it is not there or was compiled from other declarations."""
    found = importlib.util.find_spec(f"{__name__}._kernel")
    if found is None or found.origin is None:
        raise KernelMissing("the ranker's kernel is missing; a C compiler and `pip install -e .` (or `make install`) build it")
    loaded = ctypes.CDLL(found.origin)
    for kind in (Ranker, Tables, History, Context, Candidates):
        size = getattr(loaded, f"{kind.__name__.lower()}_bytes", None)
        if size is None:
            raise KernelMissing("the ranker's kernel is an older one; build it again with `make install`")
        size.restype, size.argtypes = ctypes.c_size_t, ()
        if size() != ctypes.sizeof(kind):
            raise KernelMissing("the ranker's kernel has another layout; build it again with `make install`")
    loaded.rank.restype = ctypes.c_int
    loaded.rank.argtypes = (*[_POINTER] * 3, ctypes.c_int, ctypes.c_int)
    loaded.encode.restype = ctypes.c_int
    loaded.encode.argtypes = (*[_POINTER] * 4, ctypes.c_int)
    loaded.best_level.restype, loaded.best_level.argtypes = ctypes.c_int, ()
    return loaded


def best_level() -> int:
    """What this processor can do: 4 for AVX-512, 3 for AVX2, 0 for neither."""
    return library().best_level()


def rank(ranker: Ranker, context: Context, candidates: Candidates, threads: int, level: int) -> None:
    """Fill in `candidates.logits`. Raises MemoryError where no thread has room for a block."""
    pointers = (ctypes.addressof(one) for one in (ranker, context, candidates))
    if library().rank(*pointers, threads, level) == _NO_MEMORY:
        raise MemoryError("no memory for a block of candidates")


def encode(ranker: Ranker, tables: Tables, history: History, context: Context, level: int) -> None:
    """Fill in what `context` points to. Raises IndexError where the history names a row that is in no table, MemoryError."""
    pointers = (ctypes.addressof(one) for one in (ranker, tables, history, context))
    failed = library().encode(*pointers, level)
    if failed == _NO_SUCH_ROW:
        raise IndexError("the history names a row that its table does not have: it was encoded for a ranker of other tables")
    if failed == _NO_MEMORY:
        raise MemoryError("no memory for a context")


def room(size: int) -> np.ndarray:
    """Memory for float32 (size,), not filled in, that begins at a multiple of 64 bytes: no read of 16 crosses a cache line."""
    memory = np.empty(size + LANES, np.float32)
    start = -(memory.ctypes.data // 4) % LANES
    return memory[start : start + size]


def aligned(array: np.ndarray) -> np.ndarray:
    """A float32 copy, flat, in such memory."""
    copy = room(array.size)
    copy[:] = np.asarray(array, np.float32).reshape(-1)
    return copy


def padded(width: int, multiple: int = LANES) -> int:
    """The next multiple."""
    return -(-width // multiple) * multiple


def packed(matrix: np.ndarray) -> np.ndarray:
    """A matrix (..., K inputs, N outputs), N padded with zeros, as the kernel reads it: float32 (..., N / PACK, K, PACK)."""
    *rest, depth, width = matrix.shape
    full = np.zeros((*rest, depth, padded(width, PACK)), np.float32)
    full[..., :width] = matrix
    return np.moveaxis(full.reshape(*rest, depth, -1, PACK), -2, -3)
