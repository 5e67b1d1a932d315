"""As-of histories: the newest HISTORY_LENGTH exposures of each user strictly before a moment, gathered in columns."""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.catalogue import MICROSECONDS
from feature_repo.as_of import last_before
from feature_repo.exposures import ExposureLog
from feature_repo.feature_rows import HEADS, HISTORY_LENGTH, History


def histories_as_of(log: ExposureLog, user_id: np.ndarray, now_us: np.ndarray) -> History:
    """Histories of n (user, moment) questions; user_id, now_us: int64 (n,).

    Undated exposures come first (their upper bound sorts them there) and have age NaN. An action is seen only once it
    has happened: bits of actions that came after the moment are cleared.
    """
    newest = last_before(log.user_id, log.at_us, user_id, now_us)
    index = newest[:, None] + np.arange(1 - HISTORY_LENGTH, 1)  # (n, HISTORY_LENGTH)
    first = np.searchsorted(log.user_id, user_id)
    valid = (index >= first[:, None]) & (newest >= 0)[:, None]
    safe = np.where(valid, index, 0)
    if len(log) == 0:
        return History.empty(len(user_id))
    age_s = ((now_us[:, None] - log.at_us[safe]) / MICROSECONDS).astype(np.float32)
    return History(
        post_id=np.where(valid, log.post_id[safe], -1),
        author_id=np.where(valid, log.author_id[safe], -1),
        topic=np.where(valid, log.topic[safe], -1).astype(np.int32),
        actions=_actions_as_of(log, safe, now_us) * valid,
        product=np.where(valid, log.product[safe], -1).astype(np.int16),
        age_s=np.where(valid & log.dated[safe], age_s, np.float32(np.nan)),
    )


def _actions_as_of(log: ExposureLog, index: np.ndarray, now_us: np.ndarray) -> np.ndarray:
    """Action bits of the exposures at `index` (n, HISTORY_LENGTH) that had happened strictly before `now_us` (n,)."""
    bits = log.actions[index]
    late_row = log.late_row[index]
    row, column = np.nonzero(late_row >= 0)
    if len(row):
        happened = log.action_at[late_row[row, column]] < now_us[row, None]  # (k, len(HEADS))
        bits[row, column] = np.packbits(happened, axis=1, bitorder="little")[:, 0]
    return bits


def action_columns(history: History) -> np.ndarray:
    """The action bits as float32 (n, HISTORY_LENGTH, len(HEADS))."""
    return np.unpackbits(history.actions[:, :, None], axis=2, bitorder="little")[:, :, : len(HEADS)].astype(np.float32)
