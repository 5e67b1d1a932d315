"""Collaborative vectors: what posts have in common because the same users met them, and what a history says in those terms.

Two factorisations of users x posts, of what was shown and of what was watched, each cut off after WIDTH dimensions (on the
log of the quality bench, 32 say no more). A post has its vectors; a user's are summed over the history, so that a user of
one minute's standing has some too, and they move with every exposure. A post that the factorisations never met has zeros. The
vectors belong to a bundle: models trained on some are never asked with others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from feature_repo.feature_rows import FeatureRows, History
from feature_repo.heads import COMPLETED, mask_of

WIDTH = 16  # of each factorisation, where one is fitted; a bundle's own say how wide they are
VIEWS = ("shown", "watched")
POST_VECTOR, USER_VECTOR, VECTOR_MATCH = "post_vector", "user_vector", "vector_match"

_ROWS_AT_ONCE = 16_384  # bounds the memory of gathered histories
WATCHED = mask_of(COMPLETED)


@dataclass(frozen=True)
class CollaborativeVectors:
    """By view, float32 (p, width): `reads` are summed over a history, `posts` are the posts' own; of `post_id`, ascending."""

    post_id: np.ndarray  # int64 (p,)
    reads: Mapping[str, np.ndarray]
    posts: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.post_id)

    @property
    def width(self) -> int:
        return self.posts[VIEWS[0]].shape[1]

    def post_block(self, post_id: np.ndarray) -> np.ndarray:
        """float32 (n, len(VIEWS) * width) of posts (n,)."""
        row, found = self._rows(post_id)
        return np.concatenate([self.posts[view].take(row, axis=0) for view in VIEWS], axis=1) * found[:, None]

    def user_block(self, history: History) -> np.ndarray:
        """float32 (n, len(VIEWS) * width) of n histories."""
        parts = [self._read(history.rows(slice(at, at + _ROWS_AT_ONCE))) for at in range(0, len(history), _ROWS_AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, len(VIEWS) * self.width), np.float32)

    def _read(self, history: History) -> np.ndarray:
        row, found = self._rows(history.post_id)
        watched = (history.actions & WATCHED) > 0
        sums = []
        for view, weight in zip(VIEWS, (found, found * watched), strict=True):
            gathered = self.reads[view].take(row, axis=0)  # (n, L, width)
            total = np.matmul(weight[:, None, :], gathered)[:, 0]
            sums.append(total / np.sqrt(weight.sum(axis=1, keepdims=True) + 1.0))
        return np.concatenate(sums, axis=1).astype(np.float32)

    def extend(self, rows: FeatureRows) -> FeatureRows:
        """`rows` with the blocks user_vector, post_vector and vector_match; those of a shared history are broadcast."""
        if VECTOR_MATCH in rows.blocks:
            return rows
        users, posts = self.user_block(rows.history), self.post_block(rows.post_id)
        by_view = (users * posts).reshape(len(posts), len(VIEWS), self.width)
        match = by_view.sum(axis=2, dtype=np.float32)
        shared = np.broadcast_to(users, (len(posts), users.shape[1])) if len(users) == 1 else users
        return replace(rows, blocks={**rows.blocks, USER_VECTOR: shared, POST_VECTOR: posts, VECTOR_MATCH: match})

    def _rows(self, post_id: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row of each post, any shape, and 1.0 where there is one (float32)."""
        row = np.minimum(np.searchsorted(self.post_id, post_id), len(self.post_id) - 1)
        return row, (self.post_id[row] == post_id).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        named = {f"{kind}.{view}": getattr(self, kind)[view] for kind in ("reads", "posts") for view in VIEWS}
        return {"post_id": self.post_id, **named}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> CollaborativeVectors:
        kinds = ({view: arrays[f"{kind}.{view}"] for view in VIEWS} for kind in ("reads", "posts"))
        return CollaborativeVectors(arrays["post_id"], *kinds)
