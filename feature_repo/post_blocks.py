"""The blocks of all posts of a snapshot at one moment, derived once for every request of a while."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.blocks import States, post_block
from feature_repo.snapshot import Snapshot


@dataclass(frozen=True)
class PostBlocks:
    """Row r + 1 is snapshot row r; row 0 is a post that nobody has met, so that a snapshot row of -1 finds it.

    Authors and topics are derived once each: `author_row` and `topic_row`, int64 (n + 1,), say where a post's stand.
    """

    moment_us: int
    post: np.ndarray  # float32 (n + 1, width)
    author: np.ndarray  # float32 (keys, width)
    author_row: np.ndarray
    topic: np.ndarray  # float32 (keys, width)
    topic_row: np.ndarray

    def __len__(self) -> int:
        return len(self.post)

    @staticmethod
    def derive(snapshot: Snapshot, moment_us: int) -> PostBlocks:
        """All posts of `snapshot` as `candidate_rows` would derive them for `moment_us`, bit for bit."""
        author, author_row = _derived(snapshot.states["author"], snapshot.author_id, moment_us)
        topic, topic_row = _derived(snapshot.states["topic"], snapshot.topic, moment_us)
        known = post_block(snapshot.states["post"], snapshot.profile, snapshot.created_at_us, moment_us)
        return PostBlocks(
            moment_us, np.concatenate([_unknown(snapshot, moment_us), known]), author, author_row, topic, topic_row
        )

    def with_posts(self, more: PostBlocks) -> PostBlocks:
        """The posts of `more`, which is of the same moment, after these; no row that was there moves."""
        if more.moment_us != self.moment_us:
            raise ValueError(f"posts as of {more.moment_us} do not go with posts as of {self.moment_us}: derive them for that")
        return PostBlocks(
            self.moment_us,
            np.concatenate([self.post, more.post[1:]]),
            np.concatenate([self.author, more.author]),
            np.concatenate([self.author_row, len(self.author) + more.author_row[1:]]),
            np.concatenate([self.topic, more.topic]),
            np.concatenate([self.topic_row, len(self.topic) + more.topic_row[1:]]),
        )

    def of(self, snapshot_rows: np.ndarray) -> dict[str, np.ndarray]:
        """The blocks post, author and topic, float32 (m, width), of snapshot rows (m,); -1 is a post nobody has met."""
        rows = np.asarray(snapshot_rows) + 1
        return {
            "post": self.post.take(rows, axis=0),
            "author": self.author.take(self.author_row.take(rows), axis=0),
            "topic": self.topic.take(self.topic_row.take(rows), axis=0),
        }


def _unknown(snapshot: Snapshot, moment_us: int) -> np.ndarray:
    profile = np.zeros((1, snapshot.profile.shape[1]), np.float32)
    return post_block(States.empty(1), profile, np.zeros(1, np.int64), moment_us)


def _derived(states: States, key: np.ndarray, moment_us: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of the distinct keys after one of no key at all, and the row of each post's key after that of no post."""
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    block = States.empty(1).derive(moment_us)
    if len(first):
        block = np.concatenate([block, states.take(first).derive(moment_us)])
    return block, np.concatenate([[0], inverse + 1]).astype(np.int64)
