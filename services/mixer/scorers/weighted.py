"""One number from the predicted actions: the weighted sum of the request's preset, with the epsilon offset."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query
from services.ranking.weights import weighted_score


class WeightedScorer(Component):
    """Writes `weighted_score` and makes it the `score`. Where the heavy ranker failed, the light score stays."""

    name = "weighted"
    reads = ("predictions",)
    writes = ("weighted_score", "score")
    inline = True

    def score(self, query: Query, candidates: Candidates) -> Mapping[str, np.ndarray]:
        weighted = weighted_score(candidates["predictions"], query.preset)
        return {"weighted_score": weighted, "score": weighted}
