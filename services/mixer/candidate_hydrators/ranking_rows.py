"""The feature rows that the rankers read, built once per request for the candidates that passed the filters."""

from __future__ import annotations

from collections.abc import Mapping

from feature_repo.request_rows import candidate_rows
from services.mixer.candidates import Candidates, Column
from services.mixer.components import Component
from services.mixer.query import Query


class RankingRowsHydrator(Component):
    """Writes `rows`: FeatureRows of (user, candidate) at the moment of the request, with one shared history."""

    name = "ranking_rows"
    needs = ("user",)
    reads = ("snapshot_row",)
    writes = ("rows",)
    deadline_ms = 400.0

    def hydrate(self, query: Query, candidates: Candidates) -> Mapping[str, Column]:
        snapshot_rows = candidates["snapshot_row"]
        rows = candidate_rows(query["user"], query.corpus.snapshot, snapshot_rows, query.surface, query.now_us)
        return {"rows": rows}
