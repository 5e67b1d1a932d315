"""Everything a request looks up about posts: one snapshot, its retrieval vectors, and the orders that sources read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from feature_repo.event_times import EARLIEST, LATEST
from services.ranking.retrieval_index import Choice, RetrievalIndex, build_index

if TYPE_CHECKING:
    from feature_repo.snapshot import Snapshot
    from services.ranking.bundle import ModelBundle
    from services.ranking.prepared_posts import PreparedPosts


@dataclass(frozen=True)
class Corpus:
    """One version of the posts, immutable; a request keeps the one it began with.

    index: finds snapshot rows by retrieval vector; by_popularity, by_author: int64 (n,) snapshot rows; authors: int64 sorted,
    distinct;
    author_starts: int64 (len(authors) + 1,), bounds of each author's rows in by_author, newest post first; posts: as the
    rankers read them at a moment that advances in ticks of `tick_us`.
    """

    snapshot: Snapshot
    index: RetrievalIndex
    by_popularity: np.ndarray
    by_author: np.ndarray
    authors: np.ndarray
    author_starts: np.ndarray
    posts: PreparedPosts
    tick_us: int
    content_index: RetrievalIndex | None = None  # finds snapshot rows by what posts hold; None where none holds anything

    @staticmethod
    def build(snapshot: Snapshot, bundle: ModelBundle, now_us: int, tick_us: int, index: Choice = "auto") -> Corpus:
        """The corpus of `snapshot` at `now_us`, with an index of the chosen kind over its posts' vectors."""
        vectors = build_index(np.arange(len(snapshot)), bundle.post_vectors(snapshot), index)
        posts = bundle.prepare(snapshot, now_us // tick_us * tick_us)
        content = None
        if snapshot.content is not None:
            rows = snapshot.content.rows_with()
            content = build_index(rows, snapshot.content.vectors[rows], index)
        return Corpus(snapshot, vectors, *_orders(snapshot), posts=posts, tick_us=tick_us, content_index=content)

    def with_posts(self, fresh: Snapshot, bundle: ModelBundle) -> Corpus:
        """This corpus and the posts of `fresh`, which its snapshot does not hold; no row that was there moves.

        The indexes are shared: a request that keeps the older corpus may find rows there that its snapshot does not have.
        """
        snapshot = self.snapshot.with_posts(fresh)
        posts = self.posts.with_posts(bundle.prepare(fresh, self.posts.moment_us))
        vectors = bundle.post_vectors(fresh, trained_on=False)
        extended = Corpus(snapshot, self.index, *_orders(snapshot), posts, self.tick_us, self.content_index)
        self.index.add(np.arange(len(self.snapshot), len(snapshot)), vectors)
        if self.content_index is not None and fresh.content is not None:
            rows = fresh.content.rows_with()
            self.content_index.add(len(self.snapshot) + rows, fresh.content.vectors[rows])
        return extended

    def at(self, now_us: int, bundle: ModelBundle) -> Corpus:
        """This corpus with its posts as of the tick of `now_us`."""
        moment_us = now_us // self.tick_us * self.tick_us
        return self if moment_us == self.posts.moment_us else replace(self, posts=bundle.prepare(self.snapshot, moment_us))

    def posts_for(self, now_us: int) -> PreparedPosts | None:
        """The prepared posts, for a request of about now; None for one of another time, such as of a log that is replayed.

        A request may meet the last tick's posts while the next ones are being prepared.
        """
        return self.posts if 0 <= now_us - self.posts.moment_us < 2 * self.tick_us else None

    @property
    def version(self) -> str:
        return self.snapshot.version

    @cached_property
    def first_post(self) -> datetime:
        """The second in which the oldest post was published: before it, no timeline shows anything."""
        created_us = self.snapshot.created_at_us
        first_s = int(created_us.min()) // 1_000_000 if len(created_us) else 0
        return datetime.fromtimestamp(min(max(first_s, EARLIEST.timestamp()), LATEST.timestamp() - 1), UTC)

    def rows_by_authors(self, author_ids: np.ndarray) -> np.ndarray:
        """Snapshot rows, int64, of all posts of `author_ids`; authors without posts add nothing."""
        if not len(self.authors) or not len(author_ids):
            return np.empty(0, np.int64)
        at = np.minimum(np.searchsorted(self.authors, author_ids), len(self.authors) - 1)
        at = at[self.authors[at] == author_ids]
        starts, sizes = self.author_starts[at], self.author_starts[at + 1] - self.author_starts[at]
        offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.by_author[np.repeat(starts, sizes) + offsets]


def _orders(snapshot: Snapshot) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """by_popularity, by_author, authors and author_starts of a corpus."""
    by_author = np.lexsort((-snapshot.created_at_us, snapshot.author_id))
    authors, starts = np.unique(snapshot.author_id[by_author], return_index=True)
    return np.argsort(-snapshot.popularity, kind="stable"), by_author, authors, np.append(starts, len(by_author))
