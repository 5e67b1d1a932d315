"""Lowers an author's second, third, ... candidate, so that one author does not fill the page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.mixer.author_allowance import author_allowance
from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.occurrence import occurrence
from services.mixer.query import Query


class AuthorDiversityScorer(Component):
    """Multiplies the score of an author's k-th best candidate (k from 0) by (1 - floor) * decay^k + floor.

    It sees all candidates, so it also says how many posts of one author the page may hold: `author_allowance`.
    """

    name = "author_diversity"
    reads = ("score",)
    writes = ("diversity_factor", "score", "author_allowance")
    inline = True

    def score(self, query: Query, candidates: Candidates) -> Mapping[str, np.ndarray]:
        score = candidates["score"]
        best_first = np.argsort(-score, kind="stable")
        factor = np.empty(len(candidates))
        decay, floor, share = query.knobs.author_decay, query.knobs.author_floor, query.knobs.author_share
        factor[best_first] = (1 - floor) * decay ** occurrence(candidates.author_id[best_first]) + floor
        allowance = np.full(len(candidates), author_allowance(candidates.author_id, query.count, share))
        return {"diversity_factor": factor, "score": score * factor, "author_allowance": allowance}
