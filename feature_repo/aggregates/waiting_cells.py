"""Which cells of a family wait to be written online: a mark for each row, so that noting one again costs nothing."""

from __future__ import annotations

import numpy as np

_LOOKED_AT = 1 << 18  # marks searched at a time


class WaitingCells:
    """A set of row numbers that is emptied round robin. For one thread."""

    def __init__(self) -> None:
        self._marks = np.zeros(0, bool)
        self._place = 0  # where the search for marks goes on
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> np.ndarray:
        """All waiting rows, ascending."""
        return np.flatnonzero(self._marks)

    def add(self, rows: np.ndarray) -> None:
        """Let `rows` (integers (n,), each at most once) wait."""
        if len(rows) == 0:
            return
        rows = rows.astype(np.int64, copy=False)  # indices of other types are several times slower
        top = int(rows.max()) + 1
        if top > len(self._marks):
            grown = np.zeros(max(top, 2 * len(self._marks)), bool)
            grown[: len(self._marks)] = self._marks
            self._marks = grown
        self._count += len(rows) - int(np.count_nonzero(self._marks[rows]))
        self._marks[rows] = True

    def some(self, most: int) -> np.ndarray:
        """Up to `most` waiting rows, ascending, none only where none waits; they wait until they are removed."""
        while self._count:
            found = self._place + np.flatnonzero(self._marks[self._place : self._place + _LOOKED_AT])[:most]
            if len(found):
                return found
            self._place += _LOOKED_AT
            if self._place >= len(self._marks):
                self._place = 0
        return np.zeros(0, np.int64)

    def remove(self, rows: np.ndarray) -> None:
        """Let `rows` (integers (n,), each at most once) wait no longer."""
        inside = rows[rows < len(self._marks)]
        self._count -= int(np.count_nonzero(self._marks[inside]))
        self._marks[inside] = False
