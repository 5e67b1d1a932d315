"""The first topic of every post that the stream worker knows."""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_repo.event_log import first_topics


class Topics:
    """The first topic of every known post."""

    def __init__(self, posts: pl.DataFrame) -> None:
        self.pairs = first_topics(posts).sort("post_id")  # post_id, topic
        self._post_id = self.pairs["post_id"].to_numpy()
        self._topic = self.pairs["topic"].to_numpy()

    def known(self, post_id: np.ndarray) -> np.ndarray:
        """bool (n,): whether the post is known, with a topic or without."""
        return np.isin(post_id, self._post_id)

    def of(self, post_id: np.ndarray) -> np.ndarray:
        """int32 (n,), -1 where the post is unknown or has none."""
        if len(self._post_id) == 0:
            return np.full(len(post_id), -1, np.int32)
        place = np.minimum(np.searchsorted(self._post_id, post_id), len(self._post_id) - 1)
        return np.where(self._post_id[place] == post_id, self._topic[place], -1).astype(np.int32)
