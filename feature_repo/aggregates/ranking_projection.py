"""From a key's cells to the ranker's packed state (`ranking_state.py`), and to the packed cells of an online row."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from feature_repo.aggregates.cell_table import CellTable
from feature_repo.aggregates.cells import CELL, faded_at
from feature_repo.aggregates.measures import MEASURE_INDEX, MEASURES
from feature_repo.aggregates.measures import WINDOWS as CELL_WINDOWS
from feature_repo.aggregates.ranking_state import AGED, MICROSECONDS, NEVER, PRIOR, STATE_INDEX, STATE_WIDTH, WINDOWS
from feature_repo.aggregates.ranking_state import MEASURES as STATE_MEASURES
from feature_repo.blocks import States

_MARKS = CELL.fields["shown"][1] // 8  # the word that holds `shown` and `saved`
_PLACE = np.array([MEASURE_INDEX[name] for name in STATE_MEASURES])  # of the ranker's measures among all
_PRIOR = np.array([MEASURE_INDEX[f"undated_{action}"] for action in PRIOR])
_PRIOR_COLUMN = np.array([STATE_INDEX[f"prior_{action}"] for action in PRIOR])
_AGED = np.array([MEASURE_INDEX[action] for action in AGED])
_AGE_COLUMN = np.array([STATE_INDEX[f"age.{action}"] for action in AGED])
_FADING = {window.half_life_us: index for index, window in enumerate(WINDOWS) if window.half_life_us is not None}
_SPAN_INDEX = {window.span_us: index for index, window in enumerate(CELL_WINDOWS)}


def dense_cells(table: CellTable, a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """All measures of n keys, CELL (n, len(MEASURES)); what nothing happened to is a cell of zeros."""
    rows = _rows(table, a, b)
    cells = np.zeros(rows.shape, CELL)
    found = rows >= 0
    _words(cells.reshape(-1))[found.reshape(-1)] = _words(table.cells)[rows[found]]
    return cells


def ranking_states(table: CellTable, ids: np.ndarray) -> States:
    """The ranker's states (float64) of n keys, each as of its newest event; unknown keys get that of a key never seen."""
    cells = dense_cells(table, np.ascontiguousarray(ids, np.int64))
    updated_at = cells["newest_us"].max(axis=1)
    state = np.zeros((len(ids), STATE_WIDTH))
    chosen = cells[:, _PLACE]
    fading = faded_at(chosen, updated_at[:, None])  # (n, measures, windows)
    for index, window in enumerate(WINDOWS):
        columns = slice(index * len(STATE_MEASURES), (index + 1) * len(STATE_MEASURES))
        plain = window.half_life_us is None
        state[:, columns] = chosen["total"] if plain else fading[:, :, _SPAN_INDEX[window.half_life_us]]
    state[:, _PRIOR_COLUMN] = cells[:, _PRIOR]["total"]
    aged = cells[:, _AGED]
    age_s = (updated_at[:, None] - aged["newest_us"]) / MICROSECONDS
    state[:, _AGE_COLUMN] = np.where(aged["total"] > 0, age_s, NEVER)
    return States(state, updated_at)


@dataclass(frozen=True)
class PackedCells:
    """Online rows of n keys of one family."""

    packed: list[bytes]  # a key's cells back to back, in measure order
    newest_us: np.ndarray  # int64 (n,): time of each key's newest event
    rows: np.ndarray  # rows of all these cells in their table


def packed_cells(table: CellTable, a: np.ndarray, b: np.ndarray | None = None) -> PackedCells:
    """The online row of each of n keys that have cells."""
    rows = _rows(table, a, b)
    found = rows >= 0
    held = rows[found]
    ends = np.cumsum(found.sum(axis=1)) * CELL.itemsize
    content = _bytes_of(table, held)
    edges = [0, *ends.tolist()]
    newest = np.zeros(rows.shape, np.int64)
    newest[found] = table.cells["newest_us"][held]
    return PackedCells([content[start:end] for start, end in pairwise(edges)], newest.max(axis=1), held)


def rows_of_keys(table: CellTable, a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Rows of all cells of n keys, int64."""
    rows = _rows(table, a, b)
    return rows[rows >= 0]


def _bytes_of(table: CellTable, rows: np.ndarray) -> bytes:
    """The cells of `rows` without the kernel's marks."""
    words = _words(table.cells)[rows]
    words[:, _MARKS] = 0
    return words.tobytes()


def _rows(table: CellTable, a: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """Row of every measure of every key, int64 (n, len(MEASURES)), -1 where there is none."""
    measures = np.tile(np.arange(len(MEASURES), dtype=np.uint8), len(a))
    first = np.repeat(a, len(MEASURES))
    second = None if b is None else np.repeat(b, len(MEASURES))
    return table.rows_of(first, second, measures).reshape(len(a), len(MEASURES))


def _words(cells: np.ndarray) -> np.ndarray:
    """Cells (n,) as uint64 (n, words), the same memory: NumPy copies structs field by field, words at once."""
    return cells.view(np.uint64).reshape(-1, CELL.itemsize // 8)
