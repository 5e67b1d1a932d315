"""Everything a request looks up about posts: one snapshot, its retrieval vectors, and the orders that sources read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.ranking.retrieval_index import Choice, RetrievalIndex, build_index

if TYPE_CHECKING:
    from feature_repo.snapshot import Snapshot
    from services.ranking.bundle import ModelBundle


@dataclass(frozen=True)
class Corpus:
    """One version of the posts, immutable; a request keeps the one it began with.

    index: finds snapshot rows by retrieval vector; by_popularity, by_author: int64 (n,) snapshot rows; authors: int64 sorted,
    distinct;
    author_starts: int64 (len(authors) + 1,), bounds of each author's rows in by_author, newest post first.
    """

    snapshot: Snapshot
    index: RetrievalIndex
    by_popularity: np.ndarray
    by_author: np.ndarray
    authors: np.ndarray
    author_starts: np.ndarray

    @staticmethod
    def build(snapshot: Snapshot, bundle: ModelBundle, index: Choice = "auto") -> Corpus:
        """The corpus of `snapshot`, with an index of the chosen kind over its posts' vectors."""
        by_author = np.lexsort((-snapshot.created_at_us, snapshot.author_id))
        authors, starts = np.unique(snapshot.author_id[by_author], return_index=True)
        return Corpus(
            snapshot=snapshot,
            index=build_index(np.arange(len(snapshot)), bundle.post_vectors(snapshot), index),
            by_popularity=np.argsort(-snapshot.popularity, kind="stable"),
            by_author=by_author,
            authors=authors,
            author_starts=np.append(starts, len(by_author)),
        )

    @property
    def version(self) -> str:
        return self.snapshot.version

    def rows_by_authors(self, author_ids: np.ndarray) -> np.ndarray:
        """Snapshot rows, int64, of all posts of `author_ids`; authors without posts add nothing."""
        if not len(self.authors) or not len(author_ids):
            return np.empty(0, np.int64)
        at = np.minimum(np.searchsorted(self.authors, author_ids), len(self.authors) - 1)
        at = at[self.authors[at] == author_ids]
        starts, sizes = self.author_starts[at], self.author_starts[at + 1] - self.author_starts[at]
        offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.by_author[np.repeat(starts, sizes) + offsets]
