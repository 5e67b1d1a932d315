"""Leaves the heavy ranker the best candidates by the score so far."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query

LIMIT = 300


class LightCutFilter(Component):
    """Keeps the `limit` highest scores; ties go to the earlier candidate. Where the light ranker failed, source order cuts."""

    name = "light_cut"
    reads = ("score",)

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        keep = np.zeros(len(candidates), bool)
        keep[np.argsort(-candidates["score"], kind="stable")[: self._limit]] = True
        return keep
