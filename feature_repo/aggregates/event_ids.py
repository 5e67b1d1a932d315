"""The ids of events that were applied, as 128-bit hashes, so that none is applied twice."""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.kernel import address, checked, kernel, view

ID = np.dtype([("low", np.uint64), ("high", np.uint64), ("at_us", np.int64)])


class EventIds:
    """A set of hashes with their events' times. What is too old to come again can be forgotten."""

    name = "event_ids"

    def __init__(self, most: int) -> None:
        self._set = kernel.ids_new(most)
        if not self._set:
            raise MemoryError(f"no address space for {most:,} event ids")

    def __del__(self) -> None:
        if getattr(self, "_set", None):
            kernel.ids_free(self._set)

    def __len__(self) -> int:
        return kernel.ids_used(self._set)

    @property
    def ids(self) -> np.ndarray:
        """All ids, ID (len,), in the order of coming: the set's own memory."""
        return view(kernel.ids_all(self._set), len(self), ID)

    def add(self, hashes: np.ndarray, at_us: np.ndarray) -> np.ndarray:
        """Add n ids; bool (n,): True where an id was not known before. hashes: uint64 (n, 2); at_us: int64 (n,)."""
        fresh = np.empty(len(at_us), np.uint8)
        checked(kernel.ids_add(self._set, len(at_us), address(hashes), address(at_us), address(fresh)), self.name)
        return fresh.astype(bool)

    def unsaved(self) -> np.ndarray:
        """Ids that came since the last call, a copy."""
        first = kernel.ids_kept(self._set)
        kernel.ids_keep(self._set)
        return self.ids[first:].copy()

    def forget_before(self, at_us: int) -> int:
        """Forget the ids of events before `at_us`; returns how many."""
        return checked(kernel.ids_forget(self._set, at_us), self.name)

    def restore(self, ids: np.ndarray) -> None:
        """Add saved ids (ID (n,)); they count as saved."""
        hashes = np.stack([ids["low"], ids["high"]], axis=1)
        self.add(np.ascontiguousarray(hashes), np.ascontiguousarray(ids["at_us"]))
        kernel.ids_keep(self._set)
