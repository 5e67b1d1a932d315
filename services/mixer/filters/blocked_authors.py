"""Removes posts of accounts that the user blocked or that blocked the user. It fails closed."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class BlockedAuthorsFilter(Component):
    name = "blocked_authors"
    needs = ("blocked",)
    inline = True
    on_failure = "closed"

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        return ~np.isin(candidates.author_id, query["blocked"])
