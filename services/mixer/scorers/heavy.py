"""The heavy ranker, and what the bundle stacks on it: the probability of each action on each candidate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query
from services.mixer.ranking_contexts import Ranker, RankingContext


class HeavyScorer(Component):
    """Writes `predictions`, float32 (n, len(HEADS)): the final probabilities, of the ensemble where the bundle has one."""

    name = "heavy"
    needs = ("context",)
    reads = ("rows", "snapshot_row")
    writes = ("predictions",)
    deadline_ms = 1_000.0

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker

    def score(self, query: Query, candidates: Candidates) -> Mapping[str, np.ndarray]:
        context: RankingContext = query["context"]
        return {"predictions": context.predict(self._ranker, candidates["rows"], candidates["snapshot_row"])}
