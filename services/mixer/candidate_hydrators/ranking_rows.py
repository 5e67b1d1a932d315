"""The feature rows that the rankers read, built once per request for the candidates that passed the filters."""

from __future__ import annotations

from collections.abc import Mapping

from feature_repo.request_rows import candidate_rows
from services.mixer.candidates import Candidates, Column
from services.mixer.components import Component
from services.mixer.query import Query
from services.mixer.ranking_contexts import RankingContext


class RankingRowsHydrator(Component):
    """Writes `rows`: FeatureRows of (user, candidate) as of the request's context, with one shared history."""

    name = "ranking_rows"
    needs = ("context",)
    reads = ("snapshot_row",)
    writes = ("rows",)
    inline = True

    def hydrate(self, query: Query, candidates: Candidates) -> Mapping[str, Column]:
        context: RankingContext = query["context"]
        posts = None if context.posts is None else context.posts.blocks
        snapshot, at = query.corpus.snapshot, candidates["snapshot_row"]
        return {"rows": candidate_rows(context.user, snapshot, at, query.surface, context.moment_us, posts)}
