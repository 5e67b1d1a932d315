"""The posts that the caller names: for scoring, not for discovery."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class GivenPostsSource(Component):
    """Proposes the query's `given_posts`, int64, as they are; a post outside the snapshot has author -1."""

    name = "given_posts"
    inline = True

    def fetch(self, query: Query) -> Candidates:
        given, snapshot = query["given_posts"], query.corpus.snapshot
        rows = snapshot.rows_of(given)
        return Candidates.proposed(given, np.where(rows >= 0, snapshot.author_id[rows], -1))
