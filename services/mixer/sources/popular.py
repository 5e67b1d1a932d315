"""Posts that people engage with most: the floor under every timeline, and the start of a new user's."""

from __future__ import annotations

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query

LIMIT = 300  # a full page of 200 for a user who has seen some


class PopularSource(Component):
    """Proposes the `limit` posts of the highest smoothed engagement rate. Reads no user feature, so it works for anyone."""

    name = "popular"
    inline = True

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit

    def fetch(self, query: Query) -> Candidates:
        snapshot = query.corpus.snapshot
        rows = query.corpus.by_popularity[: self._limit]
        return Candidates.proposed(snapshot.post_id[rows], snapshot.author_id[rows])
