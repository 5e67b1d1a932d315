"""Texts that were seen before and the number of each: a hash table in arrays, so that a million look-ups take one pass."""

from __future__ import annotations

import numpy as np
import polars as pl

_FREE = -1
_LEAST_SLOTS = 1 << 12
_SLOTS_PER_TEXT = 4  # at most a quarter of the slots is taken, so few look-ups probe twice


class KnownTexts:
    """Maps text to int64. A hit is confirmed on the text itself, so equal hashes cannot make two texts one."""

    def __init__(self) -> None:
        self._texts = pl.Series("text", [], pl.String)
        self._numbers = np.empty(0, np.int64)
        self._hashes = np.empty(0, np.uint64)
        self._slots = np.full(_LEAST_SLOTS, _FREE, np.int64)  # place of a text in the arrays above

    def find(self, texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Number of each text (int64, n), and whether it is known (bool, n); null is not known."""
        hashes = texts.hash(7).to_numpy()
        place = np.full(len(hashes), _FREE, np.int64)
        waiting = np.arange(len(hashes))
        step = 0
        while waiting.size and len(self._hashes):
            found = self._slots[self._slot(hashes[waiting], step)]
            taken = found != _FREE
            waiting, found = waiting[taken], found[taken]
            same = self._hashes[found] == hashes[waiting]
            place[waiting[same]] = found[same]
            waiting = waiting[~same]
            step += 1
        known = place != _FREE
        if known.any():
            held = self._texts.gather(np.where(known, place, 0))
            known &= (held == texts).fill_null(False).to_numpy()
        numbers = np.zeros(len(hashes), np.int64)
        numbers[known] = self._numbers[place[known]]
        return numbers, known

    def add(self, texts: pl.Series, numbers: pl.Series) -> None:
        """Remember distinct texts that are not known."""
        first = len(self._hashes)
        self._texts = pl.concat([self._texts, texts.alias("text")])
        self._numbers = np.concatenate([self._numbers, numbers.to_numpy()])
        self._hashes = np.concatenate([self._hashes, texts.hash(7).to_numpy()])
        if len(self._hashes) * _SLOTS_PER_TEXT > len(self._slots):
            slots = 1 << int(len(self._hashes) * 2 * _SLOTS_PER_TEXT).bit_length()
            self._slots = np.full(slots, _FREE, np.int64)
            first = 0
        self._insert(np.arange(first, len(self._hashes)))

    def _slot(self, hashes: np.ndarray, step: int) -> np.ndarray:
        return ((hashes + np.uint64(step)) & np.uint64(len(self._slots) - 1)).astype(np.int64)

    def _insert(self, places: np.ndarray) -> None:
        step = 0
        while places.size:
            slots = self._slot(self._hashes[places], step)
            free = self._slots[slots] == _FREE
            self._slots[slots[free]] = places[free]  # of several that want one slot, the last has it
            places = places[self._slots[slots] != places]
            step += 1
