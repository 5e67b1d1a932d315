"""Counting repeats in order, without a loop."""

from __future__ import annotations

import numpy as np


def occurrence(values: np.ndarray) -> np.ndarray:
    """How many equal values come before each one: int64 (n,), 0 for the first of its kind."""
    order = np.argsort(values, kind="stable")
    is_first = np.ones(len(values), bool)
    is_first[1:] = values[order][1:] != values[order][:-1]
    starts = np.flatnonzero(is_first)
    place = np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))
    result = np.empty(len(values), np.int64)
    result[order] = place
    return result
