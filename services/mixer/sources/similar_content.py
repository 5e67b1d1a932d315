"""Posts whose own content is near to that of the posts that the user engaged with: found without a single event of theirs."""

from __future__ import annotations

import numpy as np

from feature_repo.feature_rows import History
from feature_repo.heads import DISLIKED, POSITIVE, mask_of
from services.mixer.candidates import Candidates
from services.mixer.components import Component
from services.mixer.query import Query

LIMIT = 200
ENGAGED, DISPLEASED = mask_of(POSITIVE), mask_of(DISLIKED)


class SimilarContentSource(Component):
    """Proposes the `limit` posts with the largest cosine to the mean content of what the history shows engagement with.

    Those posts themselves are left out. Proposes nothing where posts hold neither embeddings nor text, and to who engaged with
    nothing that does.
    """

    name = "similar_content"
    needs = ("user",)

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit

    def fetch(self, query: Query) -> Candidates:
        corpus = query.corpus
        snapshot, content = corpus.snapshot, corpus.snapshot.content
        found = np.empty(0, np.int64)
        if content is not None and corpus.content_index is not None:
            liked = snapshot.rows_of(engaged_posts(query["user"].history))
            liked = liked[liked >= 0]
            taste = content.vectors[liked].sum(axis=0)
            if taste.any():
                found = corpus.content_index.search(taste, self._limit + len(liked))
                found = found[found < len(snapshot)]  # posts that came while this request keeps its corpus
                found = found[~np.isin(found, liked) & (content.vectors[found] @ taste > 0)][: self._limit]
        return Candidates.proposed(snapshot.post_id[found], snapshot.author_id[found])


def engaged_posts(history: History) -> np.ndarray:
    """Ids, int64, of the posts in the history (n = 1) that the user engaged with and took no displeasure in, each once."""
    actions = history.actions[0]
    chosen = (history.post_id[0] >= 0) & (actions & ENGAGED != 0) & (actions & DISPLEASED == 0)
    return np.unique(history.post_id[0][chosen])
