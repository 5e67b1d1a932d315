"""Removes posts that the snapshot does not hold: nothing can be said about them, so nothing can vouch for them."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class KnownPostsFilter(Component):
    name = "known_posts"
    reads = ("snapshot_row",)
    inline = True
    on_failure = "closed"

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        return candidates["snapshot_row"] >= 0
