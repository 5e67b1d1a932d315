"""The as-of search: for each question (key, moment), the newest row of a sorted log strictly before the moment."""

from __future__ import annotations

import numpy as np


def last_before(keys: np.ndarray, times: np.ndarray, query_keys: np.ndarray, query_times: np.ndarray) -> np.ndarray:
    """Index of the newest log row with the same key and time < the question's; -1 where there is none.

    keys, times: int64 (m,), sorted by (key, time). query_keys, query_times: int64 (n,), any order. Returns int64 (n,).
    """
    size = len(keys)
    # A question sorts before the log rows of its own moment, so a row never sees its own microsecond.
    is_log = np.zeros(size + len(query_keys), np.int8)
    is_log[:size] = 1
    order = np.lexsort((is_log, np.concatenate([times, query_times]), np.concatenate([keys, query_keys])))
    before = np.empty(len(order), np.int64)
    before[order] = np.cumsum(is_log[order], dtype=np.int64)
    index = before[size:] - 1
    if size == 0:
        return np.full(len(query_keys), -1, np.int64)
    return np.where((index >= 0) & (keys[np.maximum(index, 0)] == query_keys), index, -1)
