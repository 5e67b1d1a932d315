"""The user's dense features and history, read through Feast's online store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from feature_repo.online import StoredUser
from services.mixer.components import Component
from services.mixer.query import Query
from services.mixer.ranking_contexts import RankingContexts


class UserFeatureReader(Protocol):
    """What reads one user's rows; feature_repo.online.OnlineFeatures is one."""

    def stored(self, user_id: int) -> StoredUser: ...


class UserFeaturesHydrator(Component):
    """Writes `context`: RankingContext, and its `user`: UserFeatures; an unknown user has the cold-start defaults."""

    name = "user_features"
    writes = ("user", "context")
    deadline_ms = 300.0

    def __init__(self, reader: UserFeatureReader, contexts: RankingContexts) -> None:
        self._reader = reader
        self._contexts = contexts

    def hydrate_query(self, query: Query) -> Mapping[str, Any]:
        context = self._contexts.of(self._reader.stored(query.user_id), query)
        return {"user": context.user, "context": context}
