"""A late filter: no author takes more than a share of the page."""

from __future__ import annotations

import math

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.occurrence import occurrence
from services.mixer.query import Query

LEAST = 3  # posts of one author that any page may hold
SHARE = 0.15  # of a longer page


class AuthorCapFilter(Component):
    """Keeps an author's best max(3, 15 % of the page) posts. Candidates must come in rank order."""

    name = "author_cap"

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        return occurrence(candidates.author_id) < max(LEAST, math.ceil(SHARE * query.count))
