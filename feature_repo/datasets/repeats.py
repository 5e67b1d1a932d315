"""Events that came more than once: found by 8 bytes an event, however far apart they came.

A repeat is dropped when two 64-bit hashes, of its event_id and of the event_id read backwards, equal those of a copy that
stays. Two different ids among n agree in both with probability n^2 / 2^129: below 1e-20 for a thousand million events.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

_BUCKETS = 64


class EventIds:
    """First hashes of all event ids that came."""

    def __init__(self) -> None:
        self._sorted: list[np.ndarray] = []

    def add(self, event_ids: pl.Series) -> None:
        """Remember the ids of one batch."""
        self._sorted.append(np.sort(first_hash(event_ids)))

    def repeated(self) -> np.ndarray:
        """uint64, ascending: every first hash that came more than once."""
        found = [np.unique(hashes[1:][hashes[1:] == hashes[:-1]]) for hashes in self._buckets()]
        return np.concatenate([np.empty(0, np.uint64), *found])

    def copies(self) -> int:
        """How many events came after another one of the same id."""
        return sum(int(np.count_nonzero(hashes[1:] == hashes[:-1])) for hashes in self._buckets())

    def _buckets(self) -> Iterator[np.ndarray]:
        """All hashes, sorted, part by part: one part is copied at a time."""
        bounds = np.arange(_BUCKETS, dtype=np.uint64) << np.uint64(64 - _BUCKETS.bit_length() + 1)
        edges = [np.append(np.searchsorted(hashes, bounds), len(hashes)) for hashes in self._sorted]
        for bucket in range(_BUCKETS):
            pieces = [hashes[edge[bucket] : edge[bucket + 1]] for hashes, edge in zip(self._sorted, edges, strict=True)]
            yield np.sort(np.concatenate([np.empty(0, np.uint64), *pieces]))


class FirstCopies:
    """Keeps the first event of each id, over all batches that are shown to it in turn."""

    def __init__(self, repeated: np.ndarray) -> None:
        self._repeated = repeated  # as `EventIds.repeated` gives it
        self._taken = np.zeros(len(repeated), bool)
        self._second = np.zeros(len(repeated), np.uint64)  # the second hash of the copy that was kept
        self.dropped = 0

    @property
    def any_repeated(self) -> bool:
        """Whether some event may have come more than once."""
        return len(self._repeated) > 0

    def of(self, events: pl.DataFrame) -> pl.DataFrame:
        """`events` without those whose event_id was there before."""
        if len(self._repeated) == 0 or events.is_empty():
            return events
        first = first_hash(events["event_id"])
        place = np.minimum(np.searchsorted(self._repeated, first), len(self._repeated) - 1)
        rows = np.flatnonzero(self._repeated[place] == first)
        if len(rows) == 0:
            return events
        keep = np.ones(events.height, bool)
        keep[rows] = self._is_first(place[rows], _second_hash(events["event_id"].gather(rows)))
        self.dropped += int((~keep).sum())
        return events.filter(pl.Series(keep))

    def _is_first(self, place: np.ndarray, second: np.ndarray) -> np.ndarray:
        """bool: rows to keep. place: index of each row's hash among the repeated ones."""
        places, earliest = np.unique(place, return_index=True)
        fresh = ~self._taken[places]
        self._second[places[fresh]] = second[earliest[fresh]]
        self._taken[places] = True
        keep = second != self._second[place]  # another id with the same first hash
        keep[earliest[fresh]] = True
        return keep


def first_hash(ids: pl.Series) -> np.ndarray:
    """uint64 (n,): one hash of each id; equal within one process only."""
    return ids.hash(1).to_numpy()


def _second_hash(ids: pl.Series) -> np.ndarray:
    return ids.str.reverse().hash(2).to_numpy()
