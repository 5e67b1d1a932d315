"""As-of histories: the newest HISTORY_LENGTH exposures of each user strictly before a moment, gathered in columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from feature_repo.aggregates.ranking_state import MICROSECONDS
from feature_repo.as_of import last_before
from feature_repo.dwell import MOST_TENTHS, seconds_of
from feature_repo.exposures import ExposureLog
from feature_repo.feature_rows import HISTORY_LENGTH, History
from feature_repo.heads import flags_of, masks_of

UNDATED_AT = -1  # stored time of an exposure that is known only by its order

# What the online store keeps of a history: one packed array, exposure after exposure (oldest first, no padding), these
# seven numbers each. `actions` is the bit mask in the order of HEADS; `dwell` is tenths of a second (see dwell.py); `at_us` is
# UNDATED_AT where only the order is known.
STORED_COLUMNS = ("post_id", "author_id", "topic", "actions", "product", "dwell", "at_us")
_LIKE_HISTORY = STORED_COLUMNS[:-2]  # stored as `History` holds them
_DWELL, _AT_US = STORED_COLUMNS.index("dwell"), STORED_COLUMNS.index("at_us")


class StoredHistoryOutdated(ValueError):
    """A stored history has another form than STORED_COLUMNS: an earlier version wrote it."""


def histories_as_of(log: ExposureLog, user_id: np.ndarray, now_us: np.ndarray) -> History:
    """Histories of n (user, moment) questions; user_id, now_us: int64 (n,).

    Undated exposures come first (their upper bound sorts them there) and have age NaN. An action is seen only once it
    has happened: bits of actions that came after the moment are cleared, and dwell that came after it is not counted.
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
        product=np.where(valid, log.product[safe], -1).astype(np.int32),
        age_s=np.where(valid & log.dated[safe], _age_s(log.at_us[safe], now_us[:, None]), np.float32(np.nan)),
        dwell_s=seconds_of(_dwell_as_of(log, safe, now_us) * valid),
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
        bits[row, column] = masks_of(happened)
    return bits


def _dwell_as_of(log: ExposureLog, index: np.ndarray, now_us: np.ndarray) -> np.ndarray:
    """Tenths of a second dwelt on the exposures at `index` (n, HISTORY_LENGTH) strictly before `now_us` (n,), uint16."""
    tenths = log.dwell[index]
    place = log.late_dwell[index]
    row, column = np.nonzero(place >= 0)
    place = place[row, column]
    tenths[row, column] = 0
    while len(place):  # as often as one exposure has dwell events, which is once or twice
        happened = log.dwell_at[place] < now_us[row]
        row, column, place = row[happened], column[happened], place[happened]
        tenths[row, column] = log.dwell_so_far[place]
        place = place + 1
    return tenths


def _age_s(at_us: np.ndarray, now_us: np.ndarray | int) -> np.ndarray:
    return ((now_us - at_us) / MICROSECONDS).astype(np.float32)


def action_columns(history: History) -> np.ndarray:
    """The action bits as float32 (n, HISTORY_LENGTH, len(HEADS))."""
    return flags_of(history.actions).astype(np.float32)


# ---- the stored form -------------------------------------------------------------------------------------------------
def stored_histories(log: ExposureLog, index: np.ndarray) -> pl.Series:
    """The packed arrays (see STORED_COLUMNS) of the histories at `index` (from `newest_exposures`), a list column."""
    valid = index >= 0
    flat = index[valid]
    at_us = np.where(log.dated[flat], log.at_us[flat], UNDATED_AT)
    columns = (*(getattr(log, name)[flat] for name in STORED_COLUMNS[:-1]), at_us)
    packed = np.stack([column.astype(np.int64) for column in columns], axis=1)  # (exposures, 7)
    ends = np.cumsum(valid.sum(axis=1)) * len(STORED_COLUMNS)
    lists = pa.LargeListArray.from_arrays(pa.array(np.concatenate([[0], ends])), pa.array(packed.reshape(-1)))
    return pl.Series("exposures", pl.from_arrow(lists))


def history_of_stored(packed: Sequence[int], now_us: int) -> History:
    """The history (n = 1) at `now_us` from the packed array of one user; an empty one gives an empty history.

    Raises StoredHistoryOutdated for an array of another form.
    """
    columns = _stored_columns(packed)[-HISTORY_LENGTH:]
    history = History.empty(1)
    length = len(columns)
    if length == 0:
        return history
    for place, name in enumerate(_LIKE_HISTORY):
        getattr(history, name)[0, -length:] = columns[:, place]
    history.dwell_s[0, -length:] = seconds_of(columns[:, _DWELL])
    at_us = columns[:, _AT_US]
    history.age_s[0, -length:] = np.where(at_us == UNDATED_AT, np.float32(np.nan), _age_s(at_us, now_us))
    return history


def _stored_columns(packed: Sequence[int]) -> np.ndarray:
    """`packed` as int64 (exposures, 7)."""
    numbers, width = np.asarray(packed, np.int64), len(STORED_COLUMNS)
    if len(numbers) % width == 0:
        columns = numbers.reshape(-1, width)
        # Before there was dwell an exposure took six numbers, and seven such exposures have a length that fits. But then the
        # first time stands where a dwell should: -1, or far more than any dwell.
        if ((columns[:, _DWELL] >= 0) & (columns[:, _DWELL] <= MOST_TENTHS)).all():
            return columns
    raise StoredHistoryOutdated(
        f"a stored history of {len(numbers)} numbers is not made of {STORED_COLUMNS}: an earlier version wrote it; "
        "write the online rows again with `mixer run features`"
    )
