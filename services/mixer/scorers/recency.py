"""Reverse chronology: the newer, the higher."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class RecencyScorer(Component):
    """Writes `score`: the publication time in seconds since 1970."""

    name = "recency"
    reads = ("created_at_us",)
    writes = ("score",)
    inline = True

    def score(self, query: Query, candidates: Candidates) -> Mapping[str, np.ndarray]:
        return {"score": candidates["created_at_us"] / 1e6}
