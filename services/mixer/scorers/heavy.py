"""The heavy ranker: the probability of each action on each candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from feature_repo.feature_rows import FeatureRows
from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class HeavyRanker(Protocol):
    """float32 (n, len(HEADS)) from n rows; services.ranking.bundle.ModelBundle is one."""

    def heavy_predict(self, rows: FeatureRows) -> np.ndarray: ...


class HeavyScorer(Component):
    """Writes `predictions`, float32 (n, len(HEADS))."""

    name = "heavy"
    reads = ("rows",)
    writes = ("predictions",)
    deadline_ms = 1_000.0

    def __init__(self, ranker: HeavyRanker) -> None:
        self._ranker = ranker

    def score(self, query: Query, candidates: Candidates) -> Mapping[str, np.ndarray]:
        return {"predictions": self._ranker.heavy_predict(candidates["rows"])}
