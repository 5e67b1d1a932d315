"""The user's dense features and history, read through Feast's online store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from feature_repo.feature_rows import UserFeatures
from services.mixer.components import Component
from services.mixer.query import Query


class UserFeatureReader(Protocol):
    """What reads one user's features; feature_repo.online.OnlineFeatures is one."""

    def user(self, user_id: int, now_us: int) -> UserFeatures: ...


class UserFeaturesHydrator(Component):
    """Writes `user`: UserFeatures at the moment of the request; an unknown user has the cold-start defaults."""

    name = "user_features"
    writes = ("user",)
    deadline_ms = 300.0

    def __init__(self, reader: UserFeatureReader) -> None:
        self._reader = reader

    def hydrate_query(self, query: Query) -> Mapping[str, Any]:
        return {"user": self._reader.user(query.user_id, query.now_us)}
