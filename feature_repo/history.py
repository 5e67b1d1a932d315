"""As-of histories: the newest HISTORY_LENGTH exposures of each user strictly before a moment, gathered in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from feature_repo.aggregates.catalogue import MICROSECONDS
from feature_repo.as_of import last_before
from feature_repo.exposures import ExposureLog
from feature_repo.feature_rows import HEADS, HISTORY_LENGTH, History

UNDATED_AT = -1  # stored time of an exposure that is known only by its order

# What the online store keeps of a history: one array a column, oldest exposure first, no padding.
STORED_COLUMNS = {
    "post_id": "Newest exposures of the user, oldest first.",
    "author_id": "Author of each.",
    "topic": "First topic of each, -1 = none.",
    "actions": "What followed: bit mask in the order of HEADS.",
    "product": "Product bucket of each.",
    "at_us": f"Time of each in microseconds UTC; {UNDATED_AT} where only the order is known.",
}


def histories_as_of(log: ExposureLog, user_id: np.ndarray, now_us: np.ndarray) -> History:
    """Histories of n (user, moment) questions; user_id, now_us: int64 (n,).

    Undated exposures come first (their upper bound sorts them there) and have age NaN. An action is seen only once it
    has happened: bits of actions that came after the moment are cleared.
    """
    if len(log) == 0:
        return History.empty(len(user_id))
    index = newest_exposures(log, user_id, now_us)
    valid = index >= 0
    safe = np.where(valid, index, 0)
    return History(
        post_id=np.where(valid, log.post_id[safe], -1),
        author_id=np.where(valid, log.author_id[safe], -1),
        topic=np.where(valid, log.topic[safe], -1).astype(np.int32),
        actions=_actions_as_of(log, safe, now_us) * valid,
        product=np.where(valid, log.product[safe], -1).astype(np.int16),
        age_s=np.where(valid & log.dated[safe], _age_s(log.at_us[safe], now_us[:, None]), np.float32(np.nan)),
    )


def newest_exposures(log: ExposureLog, user_id: np.ndarray, now_us: np.ndarray) -> np.ndarray:
    """Rows of `log` that make up each history, int64 (n, HISTORY_LENGTH), oldest first, -1 = padding at the front."""
    newest = last_before(log.user_id, log.at_us, user_id, now_us)
    index = newest[:, None] + np.arange(1 - HISTORY_LENGTH, 1)
    first = np.searchsorted(log.user_id, user_id)
    return np.where((index >= first[:, None]) & (newest >= 0)[:, None], index, -1)


def _actions_as_of(log: ExposureLog, index: np.ndarray, now_us: np.ndarray) -> np.ndarray:
    """Action bits of the exposures at `index` (n, HISTORY_LENGTH) that had happened strictly before `now_us` (n,)."""
    bits = log.actions[index]
    late_row = log.late_row[index]
    row, column = np.nonzero(late_row >= 0)
    if len(row):
        happened = log.action_at[late_row[row, column]] < now_us[row, None]  # (k, len(HEADS))
        bits[row, column] = np.packbits(happened, axis=1, bitorder="little")[:, 0]
    return bits


def _age_s(at_us: np.ndarray, now_us: np.ndarray | int) -> np.ndarray:
    return ((now_us - at_us) / MICROSECONDS).astype(np.float32)


def action_columns(history: History) -> np.ndarray:
    """The action bits as float32 (n, HISTORY_LENGTH, len(HEADS))."""
    return np.unpackbits(history.actions[:, :, None], axis=2, bitorder="little")[:, :, : len(HEADS)].astype(np.float32)


# ---- the stored form -------------------------------------------------------------------------------------------------
def stored_histories(log: ExposureLog, index: np.ndarray) -> dict[str, pl.Series]:
    """STORED_COLUMNS of the histories at `index` (from `newest_exposures`) as list columns."""
    valid = index >= 0
    flat = index[valid]
    lengths = valid.sum(axis=1)
    values = {
        "post_id": log.post_id[flat],
        "author_id": log.author_id[flat],
        "topic": log.topic[flat],
        "actions": log.actions[flat],
        "product": log.product[flat],
        "at_us": np.where(log.dated[flat], log.at_us[flat], UNDATED_AT),
    }
    owner = np.repeat(np.arange(len(index)), lengths)
    flat_rows = pl.DataFrame({"owner": owner, **{name: value.astype(np.int64) for name, value in values.items()}})
    lists = flat_rows.group_by("owner", maintain_order=True).all()
    return {name: lists[name] for name in STORED_COLUMNS}


def history_of_stored(columns: Mapping[str, Sequence[int]], now_us: int) -> History:
    """The history (n = 1) at `now_us` from STORED_COLUMNS of one user."""
    at_us = np.asarray(columns["at_us"], np.int64)[-HISTORY_LENGTH:]
    length = len(at_us)
    history = History.empty(1)
    if length == 0:
        return history
    for name in ("post_id", "author_id", "topic", "actions", "product"):
        getattr(history, name)[0, -length:] = np.asarray(columns[name], np.int64)[-length:]
    history.age_s[0, -length:] = np.where(at_us == UNDATED_AT, np.float32(np.nan), _age_s(at_us, now_us))
    return history
