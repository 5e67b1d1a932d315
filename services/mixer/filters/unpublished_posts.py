"""Removes posts that were published after the moment of the request; when a log is replayed, that moment is in the past."""

from __future__ import annotations

import numpy as np

from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query


class UnpublishedPostsFilter(Component):
    name = "unpublished_posts"
    reads = ("created_at_us",)
    inline = True

    def keep(self, query: Query, candidates: Candidates) -> np.ndarray:
        return candidates["created_at_us"] <= query.now_us
