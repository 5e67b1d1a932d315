"""A family's cells in memory, updated by the compiled kernel. Not for several threads at once; several tables are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feature_repo.aggregates.cells import CELL
from feature_repo.aggregates.kernel import SAVED, SHOWN, StateLayout, address, checked, kernel, take_touched, view
from feature_repo.aggregates.measures import COUNTED, MEASURES


class CellTable:
    """One cell per (key, measure) that an event has reached. Rows are never removed and never move."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self._table = kernel.table_new(most)
        if not self._table:
            raise MemoryError(f"no address space for {most:,} cells of table {name!r}")

    def __del__(self) -> None:
        if getattr(self, "_table", None):
            kernel.table_free(self._table)

    def __len__(self) -> int:
        return kernel.table_used(self._table)

    @property
    def cells(self) -> np.ndarray:
        """All cells, CELL (len,), the table's own memory: they change with every `apply`."""
        return view(kernel.table_cells(self._table), len(self), CELL)

    def apply(self, updates: Updates, a: np.ndarray, b: np.ndarray | None, skip: np.ndarray | None) -> np.ndarray:
        """Apply `updates` to the keys (a, b) of their events. Returns the rows of new cells, uint32.

        a, b: int64 (events,), b None for keys of one id; skip: uint8 (events,), 1 where an event has no key here.
        """
        created = np.empty(len(updates), np.uint32)
        count = kernel.table_apply(
            self._table, len(updates), address(updates.rows), address(a), address(b), address(skip), address(created)
        )
        return created[: checked(count, self.name)]

    def meet(self, pair: CellTable, created: np.ndarray, *, second: bool, place: int) -> None:
        """Count first meetings: the new cells `created` of a pair table, in the cells of the pair's first or second id here."""
        kernel.table_meet(self._table, pair._table, len(created), address(created), second, place, len(COUNTED))

    def rows_of(self, a: np.ndarray, b: np.ndarray | None, measure: np.ndarray) -> np.ndarray:
        """Row of each (a, b, measure), int64 (n,), -1 where there is none; a, b int64, measure uint8."""
        found = np.empty(len(a), np.int64)
        kernel.table_find(self._table, len(a), address(a), address(b), address(measure), address(found))
        return found

    def rows_of_keys(self, a: np.ndarray, b: np.ndarray | None) -> np.ndarray:
        """Row of every measure of every key (a, b: int64 (n,)), int64 (n, len(MEASURES)), -1 where there is none."""
        found = np.empty((len(a), len(MEASURES)), np.int64)
        kernel.table_find_keys(self._table, len(a), address(a), address(b), len(MEASURES), address(found))
        return found

    def states(self, rows: np.ndarray, layout: StateLayout, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Ranking states of keys with these `rows` (as of `rows_of_keys`), each as of its newest event.

        Returns (states float64 (n, width), those moments int64 (n,), 0 for keys without cells). `width` is the layout's.
        """
        states, updated_at = np.empty((len(rows), width)), np.empty(len(rows), np.int64)
        kernel.table_states(self._table, len(rows), address(rows), layout, address(states), address(updated_at))
        return states, updated_at

    def shown_rows(self) -> np.ndarray:
        """Rows touched since the last call, uint32."""
        return take_touched("table", self._table, SHOWN)

    def unsaved_rows(self) -> np.ndarray:
        """Rows touched since the last call, for those who save them: counted apart from `shown_rows`."""
        return take_touched("table", self._table, SAVED)

    def restore(self, cells: np.ndarray) -> None:
        """Put `cells` (CELL (n,)) in their keys' places."""
        checked(kernel.table_restore(self._table, len(cells), address(cells)), self.name)

    def restore_file(self, file: Path) -> None:
        """Put the cells of a file that holds nothing else in their keys' places."""
        if file.stat().st_size:
            self.restore(np.memmap(file, CELL, mode="r"))


class Updates:
    """What some events do to their measures, worked out once for all families."""

    def __init__(
        self, at_us: np.ndarray, measure: np.ndarray, valued: np.ndarray, amount: np.ndarray, undated: np.ndarray
    ) -> None:
        """at_us int64; measure uint8: the counted or undated measure, 255 none; valued uint8: the valued measure that
        `amount` (float64, seconds) is added to, 255 none; undated uint8. All (n,)."""
        width = kernel.update_bytes()
        rows = np.empty((2 * len(at_us), width), np.uint8)
        made = kernel.prepare(
            len(at_us), address(at_us), address(measure), address(valued), address(amount), address(undated), address(rows)
        )
        self.rows = rows[:made]

    def __len__(self) -> int:
        return len(self.rows)


def as_words(rows: np.ndarray) -> np.ndarray:
    """Structured rows (n,) as uint64 (n, words), the same memory: NumPy copies structs field by field, words at once."""
    return rows.view(np.uint64).reshape(len(rows), rows.itemsize // 8)
