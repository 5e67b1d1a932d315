"""What the rankers' first layers make of all posts of a snapshot at one moment, computed once and looked up by requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from feature_repo.post_blocks import PostBlocks
from services.ranking.collaborative import POST_VECTOR, CollaborativeVectors
from services.ranking.compiled import Projected
from services.ranking.id_hashing import hash_ids

if TYPE_CHECKING:
    from feature_repo.snapshot import Snapshot
    from services.ranking.light import LightRanker
    from services.ranking.members import CompiledMembers
    from services.ranking.normalise import Normaliser

ROWS_AT_ONCE = 8_192  # bounds the memory of normalised blocks


@dataclass(frozen=True)
class PreparedPosts:
    """Rows as in `PostBlocks`: row r + 1 is snapshot row r, row 0 a post that nobody has met.

    `heavy`, by member, is None where the heavy ranker has no compiled form; `light`: float32 (n + 1,), the posts' part of its
    logit.
    """

    version: str  # of the snapshot whose states these are
    blocks: PostBlocks
    heavy: tuple[Projected, ...] | None
    light: np.ndarray

    def __len__(self) -> int:
        return len(self.light)

    @property
    def moment_us(self) -> int:
        return self.blocks.moment_us

    def with_posts(self, more: PreparedPosts) -> PreparedPosts:
        """The posts of `more`, prepared for the same moment, after these; no row that was there moves."""
        heavy = None
        if self.heavy is not None and more.heavy is not None:
            heavy = tuple(here.joined(later.after_first()) for here, later in zip(self.heavy, more.heavy, strict=True))
        light = np.concatenate([self.light, more.light[1:]])
        return PreparedPosts(self.version, self.blocks.with_posts(more.blocks), heavy, light)


@dataclass(frozen=True)
class LookedUp:
    """Candidates as rows of prepared posts: `row`, int64 (n,), is the snapshot's, -1 for a post nobody has met."""

    posts: PreparedPosts
    row: np.ndarray

    def take(self, index: np.ndarray) -> LookedUp:
        return LookedUp(self.posts, self.row[index])


@dataclass(frozen=True)
class PostModels:
    """The parts of a bundle that read what is known of posts alone."""

    normaliser: Normaliser
    light: LightRanker
    compiled: CompiledMembers | None
    vectors: CollaborativeVectors | None = None

    def prepare(self, snapshot: Snapshot, moment_us: int) -> PreparedPosts:
        """All posts of `snapshot` as of `moment_us`."""
        blocks = PostBlocks.derive(snapshot, moment_us)
        ids = tuple(np.concatenate([[-1], ids]) for ids in (snapshot.post_id, snapshot.author_id, snapshot.topic))
        spans = [slice(start, start + ROWS_AT_ONCE) for start in range(0, len(blocks), ROWS_AT_ONCE)]
        rows = np.arange(-1, len(snapshot))
        parts = [self._part(blocks.of(rows[span]), *(one[span] for one in ids)) for span in spans]
        heavy = None
        if self.compiled is not None:
            heavy = tuple(one[0].joined(*one[1:]) for one in zip(*(part for _, part in parts), strict=True))
        return PreparedPosts(snapshot.version, blocks, heavy, np.concatenate([light for light, _ in parts]))

    def _part(
        self, blocks: Mapping[str, np.ndarray], post: np.ndarray, author: np.ndarray, topic: np.ndarray
    ) -> tuple[np.ndarray, tuple[Projected, ...] | None]:
        known = self.normaliser.widths
        if self.vectors is not None:
            blocks = {**blocks, POST_VECTOR: self.vectors.post_block(post)}
        normalised = {name: self.normaliser.apply(name, block) for name, block in blocks.items() if name in known}
        light = self.light.post_logits(normalised, len(post))
        if self.compiled is None:
            return light, None
        bits = self.compiled.config.bits
        rows = (hash_ids(post, bits.post), hash_ids(author, bits.author), hash_ids(topic, bits.topic))
        tensors = {name: torch.from_numpy(block) for name, block in normalised.items()}
        return light, self.compiled.project(tensors, *(torch.from_numpy(one) for one in rows))
