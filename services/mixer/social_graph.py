"""Who follows, mutes and blocks whom: the edges table as arrays, and what users did since it was read."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_repo.contracts import EdgeKind


@dataclass(frozen=True)
class Targets:
    """A user's targets of one kind: ids int64 sorted and distinct, `derived` bool (inferred, not declared)."""

    ids: np.ndarray
    derived: np.ndarray

    @staticmethod
    def none() -> Targets:
        return Targets(np.empty(0, np.int64), np.empty(0, bool))


@dataclass(frozen=True)
class Relation:
    """Edges of one kind, grouped by user: users int64 sorted; starts (users + 1,); targets and derived (edges,)."""

    users: np.ndarray
    starts: np.ndarray
    targets: np.ndarray
    derived: np.ndarray

    @staticmethod
    def of(edges: pl.DataFrame, user: str = "user_id", target: str = "target_id") -> Relation:
        unique = edges.group_by(user, target).agg(pl.col("derived").min()).sort(user, target)
        users, starts = np.unique(unique[user].to_numpy(), return_index=True)
        return Relation(users, np.append(starts, unique.height), unique[target].to_numpy(), unique["derived"].to_numpy())

    def of_user(self, user_id: int) -> Targets:
        at = int(np.searchsorted(self.users, user_id))
        if at == len(self.users) or self.users[at] != user_id:
            return Targets.none()
        rows = slice(self.starts[at], self.starts[at + 1])
        return Targets(self.targets[rows], self.derived[rows])


@dataclass(frozen=True)
class SocialGraph:
    """The relations that the mixer reads; `followed_by` and `blocked_by` are `follow` and `block` from the other side."""

    follow: Relation
    followed_by: Relation
    mute: Relation
    block: Relation
    blocked_by: Relation

    @staticmethod
    def from_edges(edges: pl.DataFrame) -> SocialGraph:
        """From rows of the EDGES contract; kinds that the mixer does not use are left out."""
        kind = {name: edges.filter(pl.col("kind") == name.value) for name in EdgeKind}
        return SocialGraph(
            follow=Relation.of(kind[EdgeKind.FOLLOW]),
            followed_by=Relation.of(kind[EdgeKind.FOLLOW], user="target_id", target="user_id"),
            mute=Relation.of(kind[EdgeKind.MUTE]),
            block=Relation.of(kind[EdgeKind.BLOCK]),
            blocked_by=Relation.of(kind[EdgeKind.BLOCK], user="target_id", target="user_id"),
        )

    def followers_among(self, following: Targets, target_id: int) -> int:
        """How many of the accounts in `following` follow `target_id`.

        Only declared follows count on either side: an inferred one is good enough to rank by, not to tell a person about.
        """
        few, many = sorted((following, self.followed_by.of_user(target_id)), key=lambda targets: len(targets.ids))
        if not len(few.ids):
            return 0
        # Both are sorted: the shorter list is looked up in the longer one, which may be a large account's millions.
        at = np.searchsorted(many.ids, few.ids).clip(max=len(many.ids) - 1)
        declared = ~few.derived & ~many.derived[at]
        return int(np.count_nonzero((many.ids[at] == few.ids) & declared))


class RecentRelations:
    """Follows, mutes and blocks that users declared through this process: they hold from the next request on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._targets: dict[tuple[EdgeKind, int], set[int]] = defaultdict(set)

    def add(self, kind: EdgeKind, user_id: int, target_id: int) -> None:
        with self._lock:
            self._targets[kind, user_id].add(target_id)

    def of_user(self, kind: EdgeKind, user_id: int) -> np.ndarray:
        """int64, sorted."""
        with self._lock:
            return np.array(sorted(self._targets.get((kind, user_id), ())), np.int64)
