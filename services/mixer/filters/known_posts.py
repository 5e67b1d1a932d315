"""Removes posts that the snapshot does not hold: nothing can be said about them, so nothing can vouch for them."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import CLOSED_DEADLINE_MS, Component
from services.mixer.query import Query


class KnownPostsFilter(Component):
    name = "known_posts"
    reads = ("snapshot_row",)
    on_failure = "closed"
    deadline_ms = CLOSED_DEADLINE_MS

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        return candidates["snapshot_row"] >= 0
