"""Features of one user at request time, and states in bulk, through Feast's online store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from feature_repo.aggregates.ranking_state import Key
from feature_repo.blocks import States, user_block
from feature_repo.feature_rows import History, UserFeatures
from feature_repo.history import history_of_stored
from feature_repo.profiles import unknown_user_profile
from infra.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureStore

READ_BATCH = 500  # entities per online read; SQLite binds one variable each
_REFERENCES = ["user:state", "user:updated_at", "user:profile", "user_history:exposures"]


class OnlineFeatures:
    """Reads one user per request. Safe to share between threads once `warm` has run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _store(self) -> FeatureStore:
        from feature_repo.feature_store import open_store

        return open_store(self._settings)

    def warm(self) -> None:
        """Open the store and pay the first read's cost."""
        self.user(0, 0)

    def stored(self, user_id: int) -> StoredUser:
        """What the store holds of `user_id` now."""
        answer = self._store.get_online_features(_REFERENCES, [{"user_id": int(user_id)}]).to_dict()
        return StoredUser(int(user_id), *(answer[name][0] for name in ("state", "updated_at", "profile", "exposures")))

    def user(self, user_id: int, now_us: int) -> UserFeatures:
        """Features of `user_id` at `now_us` (microseconds UTC). A user nobody has met gets the declared cold-start defaults."""
        return self.stored(user_id).at(now_us)


@dataclass(frozen=True)
class StoredUser:
    """A user's rows as the store holds them, before anything has faded; of a user nobody has met all are None."""

    user_id: int
    state: Sequence[float] | None = None
    updated_at: int | None = None  # microseconds
    profile: Sequence[float] | None = None
    exposures: Sequence[int] | None = None

    @cached_property
    def version(self) -> bytes:
        """16 bytes that differ wherever anything stored differs."""
        digest = blake2b(digest_size=16)
        for part, dtype in ((self.state, np.float32), ([self.updated_at or 0], np.int64), (self.profile, np.float32)):
            digest.update(b"-" if part is None else np.asarray(part, dtype).tobytes())
        digest.update(b"-" if self.exposures is None else np.asarray(self.exposures, np.int64).tobytes())
        return digest.digest()

    def at(self, now_us: int) -> UserFeatures:
        """The features at `now_us` (microseconds UTC)."""
        if self.state is None:
            return cold_start(self.user_id, now_us)
        states = States(np.array([self.state], np.float32), np.array([self.updated_at], np.int64))
        packed = np.array([self.profile], np.float32) if self.profile else unknown_user_profile()
        return UserFeatures(
            user_id=self.user_id,
            user=user_block(states, packed, now_us),
            history=history_of_stored(self.exposures or [], now_us),
            known=True,
            updated_at_us=int(self.updated_at),
        )


def cold_start(user_id: int, now_us: int) -> UserFeatures:
    """Features of a user nobody has met."""
    block = user_block(States.empty(1), unknown_user_profile(), now_us)
    return UserFeatures(user_id=user_id, user=block, history=History.empty(1), known=False)


def read_states(settings: Settings, view: str, ids: np.ndarray) -> States:
    """The online states of `ids` (n,) from view `post`, `author` or `topic`, in their order; unknown ids get empty ones."""
    from feature_repo.feature_store import open_store

    store = open_store(settings)
    column = Key(view).column
    unique, inverse = np.unique(ids, return_inverse=True)
    states = States.empty(len(unique))
    for start in range(0, len(unique), READ_BATCH):
        batch = unique[start : start + READ_BATCH]
        answer = store.get_online_features(
            [f"{view}:state", f"{view}:updated_at"], [{column: int(key)} for key in batch]
        ).to_dict()
        for offset, (state, updated_at) in enumerate(zip(answer["state"], answer["updated_at"], strict=True)):
            if state is not None:
                states.state[start + offset] = state
                states.updated_at[start + offset] = updated_at
    return states.take(inverse)
