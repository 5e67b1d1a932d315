"""Whom the user follows, mutes and blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from feature_repo.contracts import EdgeKind
from services.mixer.components import Component
from services.mixer.query import Query
from services.mixer.social_graph import RecentRelations, SocialGraph, Targets


class SocialGraphHydrator(Component):
    """Writes `following`: Targets; `muted`, `blocked`: int64 ids, blocked in either direction."""

    name = "social_graph"
    writes = ("following", "muted", "blocked")
    inline = True

    def __init__(self, graph: Callable[[], SocialGraph], recent: RecentRelations) -> None:
        self._graph = graph
        self._recent = recent

    def hydrate_query(self, query: Query) -> Mapping[str, Any]:
        graph, user_id = self._graph(), query.user_id
        declared = self._recent.of_user(EdgeKind.FOLLOW, user_id)
        muted = graph.mute.of_user(user_id).ids
        blocked = [graph.block.of_user(user_id).ids, graph.blocked_by.of_user(user_id).ids]
        return {
            "following": _with_declared(graph.follow.of_user(user_id), declared),
            "muted": np.union1d(muted, self._recent.of_user(EdgeKind.MUTE, user_id)),
            "blocked": np.unique(np.concatenate([*blocked, self._recent.of_user(EdgeKind.BLOCK, user_id)])),
        }


def _with_declared(known: Targets, declared: np.ndarray) -> Targets:
    if not len(declared):
        return known
    ids = np.union1d(known.ids, declared)
    derived = np.isin(ids, known.ids[known.derived]) & ~np.isin(ids, declared)
    return Targets(ids, derived)
