"""Posts of the accounts that the user follows, newest first."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query

LIMIT = 600  # what the 2023 home mixer fetches from its in-network source


class InNetworkSource(Component):
    """Proposes the `limit` newest posts, published by the moment of the request, of followed accounts."""

    name = "in_network"
    needs = ("following",)
    inline = True

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit

    def fetch(self, query: Query) -> Candidates:
        snapshot = query.corpus.snapshot
        rows = query.corpus.rows_by_authors(query["following"].ids)
        rows = rows[snapshot.created_at_us[rows] <= query.now_us]
        newest = rows[np.argsort(-snapshot.created_at_us[rows], kind="stable")[: self._limit]]
        return Candidates.proposed(snapshot.post_id[newest], snapshot.author_id[newest])
