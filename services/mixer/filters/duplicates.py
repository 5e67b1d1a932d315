"""Removes further proposals of a post that an earlier source already proposed."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class DuplicatesFilter(Component):
    """The first proposal stays; `source_mask` remembers the other sources."""

    name = "duplicates"
    inline = True

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        keep = np.zeros(len(candidates), bool)
        keep[np.unique(candidates.post_id, return_index=True)[1]] = True
        return keep
