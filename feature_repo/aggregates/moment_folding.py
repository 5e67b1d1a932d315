"""Folds each key's events, summed per microsecond and in time order, into the key's state after each of them.

A running fold is what a database's window functions do slowest: one function for each column and window, 100 times the kernel's
one pass over the moments.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_repo.aggregates.kernel import address, kernel
from feature_repo.aggregates.ranking_state import AGED, DWELL, MEASURES, NEVER, PRIOR, STATE_INDEX, STATE_WIDTH, WINDOWS
from feature_repo.contracts import Action

_COUNTS = ("windows", "sums", "undated", "ages", "width")
_ARRAYS = ("half_life_us", "sum_place", "undated_place", "aged", "age_place")


class FoldLayout(ctypes.Structure):
    """How moments become states; see `fold_moments` in folds.c."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in _COUNTS),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
        ("never", ctypes.c_double),
    ]


@dataclass(frozen=True)
class Moments:
    """Which columns the moments of a log have. What none of its actions can move is left out: a constant of the states."""

    sums: tuple[str, ...]  # of MEASURES
    undated: tuple[str, ...]  # of PRIOR

    @staticmethod
    def of(actions: Iterable[str]) -> Moments:
        """Those of events of these actions alone."""
        moved = set(actions)
        if Action.DWELL.value in moved:
            moved.add(DWELL)
        return Moments(tuple(one for one in MEASURES if one in moved), tuple(one for one in PRIOR if one in moved))

    @property
    def columns(self) -> tuple[str, ...]:
        """In the order in which the fold reads them."""
        return (*self.sums, *(f"prior_{action}" for action in self.undated))


def folded(batches: Iterable[pa.RecordBatch], moments: Moments) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(key int64 (n,), updated_at int64 us (n,), state float32 (n, STATE_WIDTH)) of moments sorted by key and time.

    batches: columns key, at, dated and `moments.columns`. A run of undated moments between two dated ones gives one state, the
    last: undated events are known by an upper bound only, so seeing the run whole at its last bound leaks nothing, and it saves
    most rows (a popular post is in the undated history of thousands of users).
    """
    fold, waiting = _Fold(moments), None
    for batch in batches:
        table = pa.Table.from_batches([batch] if waiting is None else [waiting, batch]).combine_chunks()
        if table.num_rows < 2:
            waiting = next(iter(table.to_batches()), None)
            continue
        # Only the next row shows whether a run ends, so the last row of a batch is held back.
        waiting = table.slice(table.num_rows - 1).to_batches()[0]
        yield fold.states(table)
    if waiting is not None:
        yield fold.states(pa.Table.from_batches([waiting]), last=True)


class _Fold:
    """Where the fold is between two batches."""

    def __init__(self, moments: Moments) -> None:
        self._columns = moments.columns
        aged = [action for action in AGED if action in moments.sums]
        self._arrays = (
            np.array([window.half_life_us or 0 for window in WINDOWS], np.float64),
            _places(f"{measure}.{window.name}" for window in WINDOWS for measure in moments.sums),
            _places(f"prior_{action}" for action in moments.undated),
            np.array([moments.sums.index(action) for action in aged], np.uint32),
            _places(f"age.{action}" for action in aged),
        )
        sizes = (len(WINDOWS), len(moments.sums), len(moments.undated), len(aged), STATE_WIDTH)
        self._layout = FoldLayout(*sizes, *map(address, self._arrays), NEVER)
        self._place = np.zeros(3, np.int64)
        self._sums, self._undated = np.zeros(len(WINDOWS) * len(moments.sums)), np.zeros(len(moments.undated))
        self._last = np.zeros(len(aged), np.int64)
        self._nothing = np.zeros(STATE_WIDTH, np.float32)
        self._nothing[[STATE_INDEX[f"age.{action}"] for action in AGED]] = NEVER

    def states(self, table: pa.Table, *, last: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Those of the moments in `table`, but for the last one unless nothing follows."""
        key, at, dated = (table[name].to_numpy() for name in ("key", "at", "dated"))
        rows = len(key) if last else len(key) - 1
        ends = np.ones(rows, bool)
        ends[: len(key) - 1] = dated[: len(key) - 1] | dated[1:] | (key[1:] != key[:-1])
        counts = np.empty((rows, len(self._columns)))
        for place, name in enumerate(self._columns):
            counts[:, place] = table[name].to_numpy()[:rows]
        key, at = (np.ascontiguousarray(column[:rows], np.int64) for column in (key, at))
        states = np.tile(self._nothing, (int(ends.sum()), 1))
        carried = map(address, (self._place, self._sums, self._undated, self._last))
        kernel.fold_moments(
            ctypes.byref(self._layout),
            rows,
            address(key),
            address(at),
            address(counts),
            address(ends),
            *carried,
            address(states),
        )
        return key[ends], at[ends], states


def _places(columns: Iterable[str]) -> np.ndarray:
    return np.array([STATE_INDEX[name] for name in columns], np.uint32)
