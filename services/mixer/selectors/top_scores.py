"""Best score first; ties go to the smaller post id, so that equal requests have equal pages."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class TopScoresSelector(Component):
    name = "top_scores"
    reads = ("score",)
    inline = True

    def select(self, query: Query, candidates: Candidates) -> np.ndarray:
        return np.lexsort((candidates.post_id, -candidates["score"]))
