"""The posts of some training rows, and slates of them: what a request could have been asked to rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.blocks import history_blocks
from feature_repo.feature_rows import FeatureRows
from services.ranking.two_tower import POST_BLOCKS


@dataclass(frozen=True)
class Catalogue:
    """The posts of some rows, each as its newest row has it; the columns that `ModelBundle.post_vectors` reads."""

    post_id: np.ndarray  # int64 (n,), sorted
    author_id: np.ndarray
    topic: np.ndarray
    blocks: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.post_id)

    @staticmethod
    def newest(rows: FeatureRows) -> Catalogue:
        post_id, reverse = np.unique(rows.post_id[::-1], return_index=True)
        at = len(rows) - 1 - reverse
        return Catalogue(post_id, rows.author_id[at], rows.topic[at], {name: rows.blocks[name][at] for name in POST_BLOCKS})

    def slate(self, rows: FeatureRows, request: int, chosen: np.ndarray) -> FeatureRows:
        """Candidates `chosen` (int64 (n,), places in the catalogue) for the user and the moment of row `request`.

        The user, the history and what it says of every candidate are as of that moment; the posts' own blocks are as of their
        newest row, which leaks nothing here: a slate is scored by models, it has no outcome. Needs `as_of_us`.
        """
        n = len(chosen)
        history = rows.history.rows(np.array([request]))
        post_id, author_id, topic = self.post_id[chosen], self.author_id[chosen], self.topic[chosen]
        product, now_us = np.full(n, rows.product[request]), np.full(n, rows.as_of_us[request])
        user = rows.blocks["user"][request : request + 1]
        return FeatureRows(
            user_id=np.full(n, rows.user_id[request]),
            post_id=post_id,
            author_id=author_id,
            topic=topic,
            product=product,
            blocks={
                "user": np.broadcast_to(user, (n, user.shape[1])),
                **{name: self.blocks[name][chosen] for name in POST_BLOCKS},
                **history_blocks(history, post_id, author_id, topic, product, now_us),
            },
            history=history,
            names=rows.names,
        )

    def slates(self, rows: FeatureRows, requests: int, candidates: int, seed: int) -> list[FeatureRows]:
        """Slates of `candidates` random posts for `requests` random rows; fewer where there are not so many."""
        random = np.random.default_rng(seed)
        asked = random.choice(len(rows), min(requests, len(rows)), replace=False)
        shown = min(candidates, len(self))
        return [self.slate(rows, int(row), random.choice(len(self), shown, replace=False)) for row in asked]
