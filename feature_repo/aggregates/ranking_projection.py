"""From a key's cells to the ranker's packed state (`ranking_state.py`), and to the packed cells of an online row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from feature_repo.aggregates.cell_table import CellTable, as_words
from feature_repo.aggregates.cells import CELL
from feature_repo.aggregates.kernel import StateLayout, address
from feature_repo.aggregates.measures import MEASURE_INDEX, MEASURES
from feature_repo.aggregates.measures import WINDOWS as CELL_WINDOWS
from feature_repo.aggregates.ranking_state import AGED, NEVER, PRIOR, STATE_WIDTH, WINDOWS
from feature_repo.aggregates.ranking_state import MEASURES as STATE_MEASURES
from feature_repo.blocks import States

_MARKS = CELL.fields["shown"][1] // 8  # the word that holds `shown` and `saved`
_NEWEST = CELL.fields["newest_us"][1] // 8
_SPAN_INDEX = {window.span_us: index for index, window in enumerate(CELL_WINDOWS)}


class _Layout:
    """The columns of a ranking state (`STATE_COLUMNS`) in the kernel's terms."""

    def __init__(self) -> None:
        self._kept = (  # the kernel reads these arrays' memory
            np.array([-1 if one.half_life_us is None else _SPAN_INDEX[one.half_life_us] for one in WINDOWS], np.int8),
            _places(STATE_MEASURES),
            _places([f"undated_{action}" for action in PRIOR]),
            _places(AGED),
        )
        counts = (len(MEASURES), *map(len, self._kept))
        self.kernel = StateLayout(*counts, *map(address, self._kept), NEVER)


def _places(measures: Sequence[str]) -> np.ndarray:
    return np.array([MEASURE_INDEX[name] for name in measures], np.uint8)


_LAYOUT = _Layout()


def dense_cells(table: CellTable, a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """All measures of n keys, CELL (n, len(MEASURES)); what nothing happened to is a cell of zeros."""
    rows = table.rows_of_keys(a, b)
    cells = np.zeros(rows.shape, CELL)
    found = rows >= 0
    as_words(cells.reshape(-1))[found.reshape(-1)] = as_words(table.cells)[rows[found]]
    return cells


def ranking_states(table: CellTable, ids: np.ndarray) -> States:
    """The ranker's states (float64) of n keys, each as of its newest event; unknown keys get that of a key never seen."""
    rows = table.rows_of_keys(np.ascontiguousarray(ids, np.int64), None)
    return States(*table.states(rows, _LAYOUT.kernel, STATE_WIDTH))


@dataclass(frozen=True)
class PackedCells:
    """Online rows of n keys of one family."""

    packed: list[bytes]  # a key's cells back to back, in measure order
    newest_us: np.ndarray  # int64 (n,): time of each key's newest event
    rows: np.ndarray  # rows of all these cells in their table


def packed_cells(table: CellTable, a: np.ndarray, b: np.ndarray | None = None) -> PackedCells:
    """The online row of each of n keys that have cells."""
    rows = table.rows_of_keys(a, b)
    found = rows >= 0
    held = rows[found]
    words = as_words(table.cells)[held]
    words[:, _MARKS] = 0
    content = words.tobytes()
    edges = [0, *(np.cumsum(found.sum(axis=1)) * CELL.itemsize).tolist()]
    newest = np.zeros(rows.shape, np.int64)
    newest[found] = words[:, _NEWEST].view(np.int64)
    return PackedCells([content[start:end] for start, end in pairwise(edges)], newest.max(axis=1), held)


def rows_of_keys(table: CellTable, a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Rows of all cells of n keys, int64."""
    rows = table.rows_of_keys(a, b)
    return rows[rows >= 0]
