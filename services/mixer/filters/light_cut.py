"""Leaves the heavy ranker the best candidates by the score so far."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class LightCutFilter(Component):
    """Keeps the highest scores, as many as the heavy ranker is to see; ties go to the earlier candidate.

    Where the light ranker failed, source order cuts.
    """

    name = "light_cut"
    reads = ("score",)
    inline = True

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        keep = np.zeros(len(candidates), bool)
        keep[np.argsort(-candidates["score"], kind="stable")[: query.knobs.ranked]] = True
        return keep
