"""What the snapshot says about each post."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class PostAttributesHydrator(Component):
    """Writes `snapshot_row` int64 (-1: not in the snapshot) and `created_at_us` int64 (0 there)."""

    name = "post_attributes"
    writes = ("snapshot_row", "created_at_us")
    inline = True

    def hydrate(self, query: Query, candidates: Candidates) -> Mapping[str, np.ndarray]:
        snapshot = query.corpus.snapshot
        rows = snapshot.rows_of(candidates.post_id)
        return {"snapshot_row": rows, "created_at_us": np.where(rows >= 0, snapshot.created_at_us[rows], 0)}
