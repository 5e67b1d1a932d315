"""Removes posts that the user has seen: by the client's word, and by the recorded history."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class SeenPostsFilter(Component):
    """The history counts when the user's features could be read; the client's list counts always.

    A user whose history holds every candidate is shown posts again: an empty page is worse than a repeated one.
    """

    name = "seen_posts"
    inline = True

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        keep = ~np.isin(candidates.post_id, query.seen_ids)
        user = query.features.get("user")
        if user is not None:
            unseen = keep & ~np.isin(candidates.post_id, user.history.post_id[0])
            return unseen if unseen.any() else keep
        return keep
