"""Cells by key: which cells belong to a row of keys, found by id or by what the online store keeps of them.

Cells are large (see `cells.CELL`) and most measures of most keys never happened. So rows point at cells instead of holding
them, and only the measures that are asked for are ever gathered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.aggregates.cells import CELL, empty_cells
from feature_repo.aggregates.measures import MEASURES

_BYTES = np.dtype(f"V{CELL.itemsize}")
_NOTHING = empty_cells(1).view(_BYTES)[0]


@dataclass(frozen=True)
class CellRows:
    """The cells of n keys: `places[key, measure]` is a row of `cells`, negative where nothing happened."""

    cells: np.ndarray  # CELL (m,)
    places: np.ndarray  # integer (n, len(MEASURES))

    def __len__(self) -> int:
        return len(self.places)

    def gather(self, measures: np.ndarray) -> np.ndarray:
        """The cells of some measures (their places in MEASURES), CELL (n, len(measures)), empty where nothing happened."""
        return self._at(self.places[:, measures])

    def dense(self) -> np.ndarray:
        """All cells, CELL (n, len(MEASURES)), empty where nothing happened."""
        return self._at(self.places)

    def _at(self, places: np.ndarray) -> np.ndarray:
        if len(self.cells) == 0:
            return empty_cells(places.size).reshape(places.shape)
        cells = np.take(self.cells, places)
        cells.view(_BYTES)[places < 0] = _NOTHING  # as plain bytes: field by field takes four times as long
        return cells

    def take(self, rows: np.ndarray | slice) -> CellRows:
        """The keys at `rows` (int array, bool mask or slice)."""
        return CellRows(self.cells, self.places[rows])

    @staticmethod
    def of_dense(cells: np.ndarray) -> CellRows:
        """Rows over cells that lie side by side, CELL (n, len(MEASURES))."""
        if cells.dtype != CELL or cells.ndim != 2 or cells.shape[1] != len(MEASURES):
            raise ValueError(f"cells are {cells.dtype} {cells.shape}; expected CELL (n, {len(MEASURES)}), a column a measure")
        return CellRows(cells.reshape(-1), np.arange(cells.size).reshape(cells.shape))

    @staticmethod
    def of_packed(packed: Sequence[bytes | None]) -> CellRows:
        """Rows over packed vectors, a key each: the bytes of its cells, one after the other; None for a key never seen.

        Raises ValueError naming the row whose length is no multiple of a cell's.
        """
        blobs = [blob or b"" for blob in packed]
        sizes = np.fromiter(map(len, blobs), np.int64, len(blobs))
        counts, rest = np.divmod(sizes, CELL.itemsize)
        if rest.any():
            row = int(np.flatnonzero(rest)[0])
            raise ValueError(
                f"packed row {row} has {sizes[row]} bytes, no multiple of a cell's {CELL.itemsize}; materialise its view again"
            )
        cells = np.frombuffer(b"".join(blobs), CELL)
        places = np.full((len(blobs), len(MEASURES)), -1, np.int32)
        places[np.repeat(np.arange(len(blobs)), counts), cells["measure"]] = np.arange(len(cells))
        return CellRows(cells, places)


class KeyedCells:
    """Cells that are found by their key: indexed once, asked often."""

    def __init__(self, cells: np.ndarray) -> None:
        """Index CELL (m,), in any order, each (key, measure) at most once. The cells are not copied."""
        self._ids_a, rank_a = np.unique(cells["a"], return_inverse=True)
        self._ids_b, rank_b = np.unique(cells["b"], return_inverse=True)
        # Ranks instead of ids make one number of a pair without any chance of two pairs sharing it.
        self._keys, key = np.unique(rank_a * len(self._ids_b) + rank_b, return_inverse=True)
        self._cells = cells
        self._places = np.full((len(self._keys) + 1, len(MEASURES)), -1, np.int32)  # the last row: a key never seen
        self._places[key, cells["measure"]] = np.arange(len(cells))

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._keys)

    def find(self, keys_a: np.ndarray, keys_b: np.ndarray | int = 0) -> np.ndarray:
        """Numbers of keys (a, b), int64 (n,) each, for `rows`; b is 0 in families of one id. -1 is a key never seen."""
        ids_a, ids_b = np.broadcast_arrays(np.asarray(keys_a, np.int64), np.asarray(keys_b, np.int64))
        rank_a, rank_b = _rank(self._ids_a, ids_a), _rank(self._ids_b, ids_b)
        return _rank(self._keys, np.where((rank_a < 0) | (rank_b < 0), -1, rank_a * len(self._ids_b) + rank_b))

    def rows(self, numbers: np.ndarray) -> CellRows:
        """The rows of keys by their numbers, int (n,); they may repeat."""
        return CellRows(self._cells, self._places[numbers])  # number -1 is the last row


def dense_cells(keys_a: np.ndarray, keys_b: np.ndarray | int, cells: np.ndarray) -> np.ndarray:
    """Cells of the keys (a, b) side by side, CELL (n, len(MEASURES)); empty ones where nothing happened.

    `cells` is CELL (m,) in any order; cells of other keys are passed over.
    """
    keyed = KeyedCells(cells)
    return keyed.rows(keyed.find(keys_a, keys_b)).dense()


def _rank(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Place of each asked number among the known ones (sorted, unique), -1 where it is none of them."""
    if len(known) == 0:
        return np.full(asked.shape, -1)
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return np.where(known[place] == asked, place, -1)
