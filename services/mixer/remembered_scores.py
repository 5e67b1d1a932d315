"""What one user's candidates were scored under one context, so that asking again costs no second pass."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from feature_repo.feature_rows import HEADS

if TYPE_CHECKING:
    from services.ranking.compiled import Request

MOST_POSTS = 4_096  # of one user; beyond it the older ones are let go


@dataclass
class RememberedScores:
    """Probabilities by snapshot row, and the encoded context that they were computed under. Safe between threads."""

    encoded: Request | None = None
    _rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # ascending
    _scores: np.ndarray = field(default_factory=lambda: np.empty((0, len(HEADS)), np.float32))
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self._rows)

    def look_up(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(found, scores): bool (n,) for snapshot rows (n,), and float32 (n, len(HEADS)), made up where not found."""
        with self._changing:
            held, scores = self._rows, self._scores
        if not len(held):
            return np.zeros(len(rows), bool), np.empty((len(rows), len(HEADS)), np.float32)
        place = np.minimum(np.searchsorted(held, rows), len(held) - 1)
        return held[place] == rows, scores[place]

    def add(self, rows: np.ndarray, scores: np.ndarray) -> None:
        """Remember `scores` (n, len(HEADS)) of snapshot rows (n,)."""
        with self._changing:
            kept = slice(None) if len(self._rows) + len(rows) <= MOST_POSTS else slice(0, 0)
            held = np.concatenate([self._rows[kept], rows])
            values = np.concatenate([self._scores[kept], scores])
            self._rows, first = np.unique(held, return_index=True)
            self._scores = values[first]
