"""The dense blocks of a row, by entity. Training, snapshot and request all build their rows here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.aggregates.derive import derive
from feature_repo.aggregates.ranking_state import DERIVED_NAMES, MICROSECONDS, NEVER, STATE_COLUMNS
from feature_repo.feature_rows import History
from feature_repo.history_blocks import CONTEXT_COLUMNS, MATCH_COLUMNS, HistorySignals
from feature_repo.profiles import POST_PROFILE, USER_PROFILE

BLOCK_NAMES: dict[str, tuple[str, ...]] = {
    "user": (*DERIVED_NAMES, *USER_PROFILE),
    "post": (*DERIVED_NAMES, *POST_PROFILE, "log_age_s"),
    "author": DERIVED_NAMES,
    "topic": DERIVED_NAMES,
    "user_author": MATCH_COLUMNS,
    "user_topic": MATCH_COLUMNS,
    "user_post": MATCH_COLUMNS,
    "context": CONTEXT_COLUMNS,
}

EMPTY_STATE = np.array([[NEVER if column.name.startswith("age.") else 0.0 for column in STATE_COLUMNS]], np.float32)


@dataclass(frozen=True)
class States:
    """n packed states and the times they are valid at."""

    state: np.ndarray  # float32 (n, STATE_WIDTH)
    updated_at: np.ndarray  # int64 (n,) microseconds

    def __len__(self) -> int:
        return len(self.state)

    def take(self, index: np.ndarray) -> States:
        """The states at `index`; a negative index gives the state of a key that was never seen."""
        if len(self) == 0:
            return States.empty(len(index))
        taken = States(self.state.take(index, axis=0, mode="clip"), self.updated_at.take(index, mode="clip"))
        unknown = np.asarray(index) < 0
        if unknown.any():
            taken.state[unknown] = EMPTY_STATE
            taken.updated_at[unknown] = 0
        return taken

    def with_states(self, more: States) -> States:
        """These states and `more` after them."""
        return States(np.concatenate([self.state, more.state]), np.concatenate([self.updated_at, more.updated_at]))

    def derive(self, now_us: np.ndarray | int) -> np.ndarray:
        """DERIVED_COLUMNS at `now_us`, float32 (n, width)."""
        return derive(self.state, self.updated_at, now_us)

    @staticmethod
    def empty(n: int) -> States:
        """n states of keys that were never seen."""
        return States(np.repeat(EMPTY_STATE, n, axis=0), np.zeros(n, np.int64))


def user_block(states: States, profile: np.ndarray, now_us: np.ndarray | int) -> np.ndarray:
    """float32 (n, width); profile is float32 (n, len(USER_PROFILE))."""
    return np.concatenate([states.derive(now_us), profile], axis=1)


def post_block(states: States, profile: np.ndarray, created_at_us: np.ndarray, now_us: np.ndarray | int) -> np.ndarray:
    """float32 (n, width); profile is float32 (n, len(POST_PROFILE)), created_at_us int64 (n,)."""
    age_s = np.maximum(np.asarray(now_us, np.int64) - created_at_us, 0) / MICROSECONDS
    return np.concatenate([states.derive(now_us), profile, np.log1p(age_s).astype(np.float32)[:, None]], axis=1)


def history_blocks(
    history: History, post_id: np.ndarray, author_id: np.ndarray, topic: np.ndarray, product: np.ndarray, now_us: np.ndarray
) -> dict[str, np.ndarray]:
    """The blocks user_author, user_topic, user_post and context of m rows; the history is per row or shared (n = 1)."""
    signals = HistorySignals(history)
    return {
        "user_author": signals.matches(history.author_id, author_id),
        "user_topic": signals.matches(history.topic, topic),
        "user_post": signals.matches(history.post_id, post_id),
        "context": signals.context(product, now_us),
    }
