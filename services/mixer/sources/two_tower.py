"""Posts whose retrieval vector is nearest to the user's, by the corpus's index."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from feature_repo.feature_rows import UserFeatures
from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query

LIMIT = 400  # what the 2023 home mixer fetches from its out-of-network retrieval


class UserTower(Protocol):
    """What makes a user's retrieval vector, float32 (d,); services.ranking.bundle.ModelBundle is one."""

    def user_vector(self, user: UserFeatures) -> np.ndarray: ...


class TwoTowerSource(Component):
    """Proposes the `limit` posts with the largest dot product."""

    name = "two_tower"
    needs = ("user",)

    def __init__(self, tower: UserTower, limit: int = LIMIT) -> None:
        self._tower = tower
        self._limit = limit

    def fetch(self, query: Query) -> Candidates:
        corpus = query.corpus
        if not len(corpus.index):
            return Candidates.proposed(np.empty(0, np.int64), np.empty(0, np.int64))
        nearest = corpus.index.search(self._tower.user_vector(query["user"]), self._limit)
        nearest = nearest[nearest < len(corpus.snapshot)]  # posts that came while this request keeps its corpus
        return Candidates.proposed(corpus.snapshot.post_id[nearest], corpus.snapshot.author_id[nearest])
