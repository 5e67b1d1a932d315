"""Removes posts of accounts that the user muted. It fails closed: when mutes are unknown, nothing is shown."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class MutedAuthorsFilter(Component):
    name = "muted_authors"
    needs = ("muted",)
    inline = True
    on_failure = "closed"

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        return ~np.isin(candidates.author_id, query["muted"])
