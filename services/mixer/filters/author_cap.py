"""A late filter: no author takes more than a share of the page."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.occurrence import occurrence
from services.mixer.query import Query


class AuthorCapFilter(Component):
    """Keeps an author's best posts up to the request's allowance. Candidates must come in rank order."""

    name = "author_cap"
    reads = ("author_allowance",)
    inline = True

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        return occurrence(candidates.author_id) < candidates["author_allowance"]
