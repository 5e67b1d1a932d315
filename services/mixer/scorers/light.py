"""The light ranker: a cheap score for every candidate, by which the heavy ranker's share is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from feature_repo.feature_rows import FeatureRows
from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query
from services.mixer.ranking_contexts import RankingContext
from services.ranking.prepared_posts import LookedUp


class LightRanker(Protocol):
    """float32 (n,) from n rows; services.ranking.bundle.ModelBundle is one."""

    def light_score(self, rows: FeatureRows, looked_up: LookedUp | None) -> np.ndarray: ...


class LightScorer(Component):
    """Writes `light_score` and makes it the `score`."""

    name = "light"
    needs = ("context",)
    reads = ("rows", "snapshot_row")
    writes = ("light_score", "score")
    inline = True

    def __init__(self, ranker: LightRanker) -> None:
        self._ranker = ranker

    def score(self, query: Query, candidates: Candidates) -> Mapping[str, np.ndarray]:
        context: RankingContext = query["context"]
        looked_up = context.looked_up(candidates["snapshot_row"])
        light = self._ranker.light_score(candidates["rows"], looked_up).astype(np.float64)
        return {"light_score": light, "score": light}
