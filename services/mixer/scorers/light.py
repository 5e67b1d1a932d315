"""The light ranker: a cheap score for every candidate, by which the heavy ranker's share is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from feature_repo.feature_rows import FeatureRows
from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class LightRanker(Protocol):
    """float32 (n,) from n rows; services.ranking.bundle.ModelBundle is one."""

    def light_score(self, rows: FeatureRows) -> np.ndarray: ...


class LightScorer(Component):
    """Writes `light_score` and makes it the `score`."""

    name = "light"
    reads = ("rows",)
    writes = ("light_score", "score")

    def __init__(self, ranker: LightRanker) -> None:
        self._ranker = ranker

    def score(self, query: Query, candidates: Candidates) -> Mapping[str, np.ndarray]:
        light = self._ranker.light_score(candidates["rows"]).astype(np.float64)
        return {"light_score": light, "score": light}
