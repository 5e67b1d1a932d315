"""Who follows, mutes and blocks whom: communities, preferential attachment, reciprocity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from feature_repo.datasets.world.config import WorldConfig
from feature_repo.datasets.world.draws import Stream, uniforms
from feature_repo.datasets.world.people import People
from feature_repo.datasets.world.posts import author_count

_MEDIAN_FOLLOWS = 15.0
_FOLLOWS_SIGMA = 0.8
_MOST_FOLLOWS = 400
_OWN_COMMUNITY = 0.75  # share of follows that stay within the community
_POPULARITY_TAIL = 2.0  # exponent of the rank draw: the higher, the more the first authors collect
_RECIPROCITY = 0.25
_MUTE_SHARE = 0.05  # of the accounts mute, and half as many block, one author


@dataclass(frozen=True)
class FollowGraph:
    """Directed pairs, each once, sorted by (source, target), none to oneself."""

    source: np.ndarray  # int64 (edges,)
    target: np.ndarray  # int64 (edges,)
    users: int

    def follows(self, user_ids: np.ndarray, author_ids: np.ndarray) -> np.ndarray:
        """Whether each user follows the author of the same row, bool (n,)."""
        if not len(self.source):
            return np.zeros(len(user_ids), bool)
        keys = self.source * self.users + self.target
        wanted = np.asarray(user_ids, np.int64) * self.users + np.asarray(author_ids, np.int64)
        place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        return keys[place] == wanted

    def with_follows(self, user_ids: np.ndarray, author_ids: np.ndarray) -> FollowGraph:
        """This graph where each of `user_ids` (n,) also follows the author of the same row."""
        more = np.asarray(user_ids, np.int64) * self.users + np.asarray(author_ids, np.int64)
        pairs = np.union1d(self.source * self.users + self.target, more)
        source, target = pairs // self.users, pairs % self.users
        other = source != target
        return FollowGraph(source[other], target[other], self.users)


def follow_graph(config: WorldConfig, everyone: People) -> FollowGraph:
    """The follow graph of all accounts of the world."""
    authors = author_count(config)
    degree_draw = uniforms(config.seed, Stream.FOLLOW_COUNT, everyone.user_id)[:, 0]
    degree = np.clip(_MEDIAN_FOLLOWS * np.exp(_FOLLOWS_SIGMA * ndtri(degree_draw)), 1, min(_MOST_FOLLOWS, authors)).astype(
        np.int64
    )
    source = np.repeat(everyone.user_id, degree)
    turn = np.arange(len(source)) - np.repeat(np.cumsum(degree) - degree, degree)
    draws = uniforms(config.seed, Stream.FOLLOW_TARGET, source, turn)
    target = _targets(everyone, source, draws, authors)
    back = uniforms(config.seed, Stream.RECIPROCITY, source, target)[:, 0] < _RECIPROCITY
    pairs = np.unique(
        np.concatenate([source * config.users + target, target[back] * config.users + source[back]]),
    )
    source, target = pairs // config.users, pairs % config.users
    other = source != target
    return FollowGraph(source[other], target[other], config.users)


def _targets(everyone: People, source: np.ndarray, draws: np.ndarray, authors: int) -> np.ndarray:
    """An author for each row: by popularity rank, within the follower's community or anywhere."""
    rank = draws[:, 1] ** _POPULARITY_TAIL
    anywhere = np.floor(rank * authors).astype(np.int64)
    community = everyone.community[:authors]
    by_community = np.argsort(community, kind="stable")  # keeps the popularity order within a community
    count = np.bincount(community, minlength=everyone.community.max() + 1)
    first = np.cumsum(count) - count
    mine = everyone.community[source]
    within = by_community[np.minimum(first[mine] + np.floor(rank * count[mine]).astype(np.int64), authors - 1)]
    return np.where((draws[:, 0] < _OWN_COMMUNITY) & (count[mine] > 0), within, anywhere)


def avoidances(config: WorldConfig, everyone: People) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(source, target, is_block) of the few accounts that mute or block an author; int64, int64, bool."""
    draws = uniforms(config.seed, Stream.AVOIDANCE, everyone.user_id)
    target = np.floor(draws[:, 1] * author_count(config)).astype(np.int64)
    mutes = (draws[:, 0] < _MUTE_SHARE) & (target != everyone.user_id)
    blocks = (draws[:, 0] > 1 - _MUTE_SHARE / 2) & (target != everyone.user_id)
    chosen = mutes | blocks
    return everyone.user_id[chosen], target[chosen], blocks[chosen]
