"""The posts with the largest inner product: exact for small catalogues, inverted lists (FAISS) for large ones.

Posts' vectors carry a bias and differ in length, so this is a search for inner products, not for neighbours. Inverted lists
compute the inner product itself of every post that they look at, so no post is misjudged, whatever its length; what is
approximate is only which lists are looked at. `python -m tests.bench index` measures both.
Shapes: n posts, D width of the vectors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, Protocol

import faiss
import numpy as np

# Measured by `tests.bench index` for 400 posts a query, one thread: below it, the exact product is fast enough (under half a
# millisecond) and misses nothing; above it, the lists answer several times as many queries.
EXACT_BELOW = 20_000
PROBES = 64  # lists looked at; recall@500 of .999 at 100,000 posts in clusters
LISTS_PER_ROOT = 4  # lists = 4 sqrt(n), as FAISS's guide advises for a million vectors and fewer
TRAIN_PER_LIST = 64  # vectors a list that the clustering learns from; more change nothing
TRAIN_ROUNDS = 8
SEED = 1234

Choice = Literal["auto", "exact", "approximate"]


class VectorsError(ValueError):
    """Vectors that an index can not take; the message says which and what it takes."""


class RetrievalIndex(Protocol):
    """Keys are int64, one vector each. Searches may run beside one another and beside a change."""

    def __len__(self) -> int: ...

    def search(self, query: np.ndarray, limit: int) -> np.ndarray:
        """Keys, int64 (<= limit,), of the largest inner products with `query` (D,), largest first."""
        ...

    def add(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Add posts, found by any later search; a key that is there already gets its new vector."""
        ...

    def remove(self, keys: np.ndarray) -> None:
        """Take posts out; keys that are not there are passed over."""
        ...


class ExactIndex:
    """One matrix product and a partition. A change makes new arrays, so a running search keeps what it began with."""

    def __init__(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """keys int64 (n,), distinct; vectors float32 (n, D), taken as they are."""
        self._held = _checked(keys, vectors, vectors.shape[1] if vectors.ndim == 2 else -1)
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._held[0])

    def search(self, query: np.ndarray, limit: int) -> np.ndarray:
        keys, vectors = self._held
        products = vectors @ _query(query, vectors.shape[1])
        limit = min(limit, len(products))
        if limit <= 0:
            return np.empty(0, np.int64)
        nearest = np.argpartition(-products, limit - 1)[:limit]
        return keys[nearest[np.argsort(-products[nearest], kind="stable")]]

    def add(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        with self._changing:
            held, rows = self._held
            keys, vectors = _checked(keys, vectors, rows.shape[1])
            stays = ~np.isin(held, keys)
            self._held = np.concatenate([held[stays], keys]), np.concatenate([rows[stays], vectors])

    def remove(self, keys: np.ndarray) -> None:
        with self._changing:
            held, rows = self._held
            stays = ~np.isin(held, np.asarray(keys, np.int64))
            self._held = held[stays], rows[stays]


class ApproximateIndex:
    """FAISS inverted lists over inner products.

    FAISS lets searches run side by side but not beside a change. Changes are rare and short, so a change waits for the
    searches under way and the next ones wait for it.
    """

    def __init__(self, keys: np.ndarray, vectors: np.ndarray, probes: int = PROBES) -> None:
        """keys int64 (n,), distinct; vectors float32 (n, D), n >= 1. Builds the lists: seconds for 100,000 posts."""
        keys, vectors = _checked(keys, vectors, vectors.shape[1] if vectors.ndim == 2 else -1)
        if not len(keys):
            raise VectorsError("an approximate index learns its lists from vectors, and there are none: use ExactIndex")
        self._width = vectors.shape[1]
        lists = max(1, min(int(LISTS_PER_ROOT * len(keys) ** 0.5), len(keys) // 40))
        self._quantiser = faiss.IndexFlatIP(self._width)
        self._lists = faiss.IndexIVFFlat(self._quantiser, self._width, lists, faiss.METRIC_INNER_PRODUCT)
        self._lists.cp.niter, self._lists.cp.seed = TRAIN_ROUNDS, SEED
        self._lists.cp.max_points_per_centroid = TRAIN_PER_LIST
        self._lists.cp.min_points_per_centroid = 1
        self._lists.nprobe = min(probes, lists)
        self._lists.train(vectors)
        self._lists.add_with_ids(vectors, keys)
        self._keys = set(keys.tolist())  # so that a new post costs no search for an old one of its key
        self._gate = _Gate()

    def __len__(self) -> int:
        return len(self._keys)

    def search(self, query: np.ndarray, limit: int) -> np.ndarray:
        query = _query(query, self._width)[None]
        if limit <= 0:
            return np.empty(0, np.int64)
        with self._gate.reading():
            _, found = self._lists.search(query, limit)
        return found[0][found[0] >= 0]  # -1 fills up where the lists held fewer

    def add(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        keys, vectors = _checked(keys, vectors, self._width)
        with self._gate.changing():
            self._drop(keys)
            self._lists.add_with_ids(vectors, keys)
            self._keys.update(keys.tolist())

    def remove(self, keys: np.ndarray) -> None:
        with self._gate.changing():
            self._drop(np.asarray(keys, np.int64))

    def _drop(self, keys: np.ndarray) -> None:
        there = self._keys.intersection(keys.tolist())
        if there:
            self._lists.remove_ids(np.fromiter(there, np.int64, len(there)))
            self._keys -= there


class _Gate:
    """Many readers or one change; a waiting change goes before readers that come later, so it is never starved."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._readers = 0
        self._changes = 0  # waiting or under way
        self._taken = False

    def reading(self) -> _Pass:
        return _Pass(self._enter, self._leave)

    def changing(self) -> _Pass:
        return _Pass(self._take, self._release)

    def _enter(self) -> None:
        with self._free:
            self._free.wait_for(lambda: not self._changes)
            self._readers += 1

    def _leave(self) -> None:
        with self._free:
            self._readers -= 1
            self._free.notify_all()

    def _take(self) -> None:
        with self._free:
            self._changes += 1
            self._free.wait_for(lambda: not self._readers and not self._taken)
            self._taken = True

    def _release(self) -> None:
        with self._free:
            self._changes -= 1
            self._taken = False
            self._free.notify_all()


class _Pass:
    """Held between two calls."""

    def __init__(self, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        self._enter, self._leave = enter, leave

    def __enter__(self) -> None:
        self._enter()

    def __exit__(self, *_: object) -> None:
        self._leave()


def build_index(keys: np.ndarray, vectors: np.ndarray, choice: Choice = "auto") -> RetrievalIndex:
    """The index for these posts; `auto` is exact below EXACT_BELOW of them. An empty catalogue is always exact."""
    approximate = choice == "approximate" or (choice == "auto" and len(keys) >= EXACT_BELOW)
    return ApproximateIndex(keys, vectors) if approximate and len(keys) else ExactIndex(keys, vectors)


def _checked(keys: np.ndarray, vectors: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    keys = np.ascontiguousarray(keys, np.int64)
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.shape != (len(keys), width):
        raise VectorsError(f"vectors have shape {vectors.shape}; ({len(keys)}, {max(width, 1)}) is needed, a row for each key")
    if (keys < 0).any():
        raise VectorsError(f"key {int(keys.min())} is negative; keys are row numbers or ids of zero and more")
    if len(np.unique(keys)) != len(keys):
        raise VectorsError(f"{len(keys) - len(np.unique(keys))} keys occur twice; give each post one vector")
    if not np.isfinite(vectors).all():
        bad = keys[~np.isfinite(vectors).all(1)]
        raise VectorsError(f"{len(bad)} vectors are not finite, the first of key {bad[0]}: look for odd feature values")
    return keys, vectors


def _query(query: np.ndarray, width: int) -> np.ndarray:
    query = np.ascontiguousarray(query, np.float32)
    if query.shape != (width,):
        raise VectorsError(f"the query has shape {query.shape}; ({width},) is needed, the width of the posts' vectors")
    return query
