"""Removes the user's own posts."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class OwnPostsFilter(Component):
    name = "own_posts"
    inline = True

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        return candidates.author_id != query.user_id
