"""Keeps only the aggregate states that answer given questions: what was known of an id before a moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from feature_repo.as_of import last_before


class StateQuestions:
    """Questions for the newest state of an id strictly before a moment."""

    def __init__(self, ids: np.ndarray, at_us: np.ndarray) -> None:
        """ids, at_us: int64 (n,), in any order."""
        order = np.argsort(ids, kind="stable")
        self.ids, self._at_us = ids[order].astype(np.int64), at_us[order]

    def answering(
        self, parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Of states in order of (id, time), as (ids, times, states (m, STATE_WIDTH)), those that answer a question.

        A state that ends a part may be kept though a later part has the answer.
        """
        for ids, at_us, states in parts:
            if len(ids) == 0:
                continue
            some = slice(np.searchsorted(self.ids, ids[0], "left"), np.searchsorted(self.ids, ids[-1], "right"))
            rows = np.unique(last_before(ids, at_us, self.ids[some], self._at_us[some]))
            rows = rows[rows >= 0]
            if len(rows):
                yield ids[rows], at_us[rows], states[rows]
