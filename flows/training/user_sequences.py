"""Training rows packed by user: one pass over a user's exposures serves all rows of that user.

Rows of a user share most of their history: the next row's is the last one's and what happened in between. So the exposures of
consecutive rows are joined to one sequence, cut after ROWS_OF_SEQUENCE rows, and each row reads the HISTORY_LENGTH exposures
that end where its own history ends. An exposure is as the first row to hold it knew it: nothing that came later is in it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from feature_repo.feature_rows import HISTORY_LENGTH, FeatureRows, History
from services.ranking.inputs import AGE_PADDING, HistoryTensors, TableBits, age_rows, history_tensors

ROWS_OF_SEQUENCE = 24
_ROWS_AT_ONCE = 16_384  # bounds the memory of gathered histories
_MICROSECONDS = 1e6


@dataclass(frozen=True)
class UserSequences:
    """s sequences over n rows. Rows are numbered as in `rows_of`, sequence by sequence; so are the t exposures.

    row: int64 (n,), places in the training rows; row_start, token_start: int64 (s + 1,); end: int64 (n,), how many of its
    sequence's exposures a row may read; row_at, token_at: float64 seconds, NaN where only the order is known; tokens: the
    exposures as one history (1, t).
    """

    row: np.ndarray
    row_start: np.ndarray
    end: np.ndarray
    row_at: np.ndarray
    token_start: np.ndarray
    token_at: np.ndarray
    tokens: HistoryTensors

    def __len__(self) -> int:
        return len(self.row_start) - 1

    @staticmethod
    def of(source: FeatureRows, chosen: np.ndarray, bits: TableBits) -> UserSequences:
        """Sequences over the rows of `source` at `chosen` (int64 (n,)), read piece by piece; `row` counts within `chosen`."""
        user, at_us = source.user_id[chosen], source.as_of_us[chosen]
        order = np.lexsort((at_us, user))
        row_at = at_us[order] / _MICROSECONDS
        place = _place_in_run(user[order])
        begins = place % ROWS_OF_SEQUENCE == 0
        # Rounded as ages are: an exposure at the former row's very moment has that age to the last bit.
        since_s = (np.diff(at_us[order], prepend=at_us[order][:1]) / _MICROSECONDS).astype(np.float32)
        since_s[begins] = np.inf
        pieces = [
            _new_exposures(source.history, chosen[order[span]], since_s[span], row_at[span], bits)
            for span in (slice(at, at + _ROWS_AT_ONCE) for at in range(0, len(order), _ROWS_AT_ONCE))
        ]
        counts = np.concatenate([count for count, _, _ in pieces])
        token_at = np.concatenate([at for _, at, _ in pieces])
        named = {f.name: torch.cat([getattr(piece, f.name) for _, _, piece in pieces]) for f in fields(HistoryTensors)}
        total = np.cumsum(counts)
        first = np.flatnonzero(begins)
        token_start = np.append((total - counts)[first], total[-1])
        row_start = np.append(first, len(order))
        end = total - np.repeat(token_start[:-1], np.diff(row_start))
        return UserSequences(order, row_start, end, row_at, token_start, token_at, HistoryTensors(**named))

    def batch(self, index: np.ndarray) -> SequenceBatch:
        """The sequences at `index` (int64 (b,)), padded behind to the longest of them."""
        rows, row_there = _padded(self.row_start, index)
        places, token_there = _padded(self.token_start, index)
        position = np.arange(places.shape[1])
        end = self.end[rows]
        seen = (position < end[:, :, None]) & (position >= end[:, :, None] - HISTORY_LENGTH)
        age = age_rows((self.row_at[rows][:, :, None] - self.token_at[places][:, None, :]).astype(np.float32))
        padding = torch.from_numpy(~token_there)
        tokens = {f.name: getattr(self.tokens, f.name)[torch.from_numpy(places)] for f in fields(HistoryTensors)}
        tokens["age"] = tokens["age"].masked_fill(padding, AGE_PADDING)
        return SequenceBatch(
            torch.from_numpy(self.row[rows][row_there]),
            torch.from_numpy(row_there),
            HistoryTensors(**tokens),
            torch.from_numpy(age),
            torch.from_numpy(seen & row_there[:, :, None]),
        )


@dataclass(frozen=True)
class SequenceBatch:
    """b sequences. row: int64 (r,), training rows; there: bool (b, Q); age, seen: (b, Q, T), which exposures a row reads."""

    row: Tensor
    there: Tensor
    tokens: HistoryTensors
    age: Tensor
    seen: Tensor


def _place_in_run(values: np.ndarray) -> np.ndarray:
    """How many equal values stand directly before each, int64 (n,)."""
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    return np.arange(len(values)) - np.repeat(starts, np.diff(np.append(starts, len(values))))


def _new_exposures(
    history: History, index: np.ndarray, since_s: np.ndarray, row_at: np.ndarray, bits: TableBits
) -> tuple[np.ndarray, np.ndarray, HistoryTensors]:
    """Of the histories at `index`: how many exposures are no older than `since_s`, and these: their times and themselves.

    All of them where `since_s` is infinite; none where it is 0, since rows of one moment know the same.
    """
    part = history.rows(index)
    present = part.post_id >= 0
    age = np.where(np.isnan(part.age_s), np.inf, part.age_s)
    new = present & ((age <= since_s[:, None]) | np.isinf(since_s)[:, None]) & (since_s != 0)[:, None]
    encoded = history_tensors(part, bits)
    kept = torch.from_numpy(new)
    at = np.where(np.isnan(part.age_s), np.nan, row_at[:, None] - part.age_s)[new]
    return new.sum(axis=1), at, HistoryTensors(*(getattr(encoded, f.name)[kept] for f in fields(HistoryTensors)))


def _padded(start: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (b, longest) of the runs at `index`, and where there is one; 0 elsewhere."""
    begin, size = start[index], start[index + 1] - start[index]
    offset = np.arange(max(1, size.max()))
    there = offset < size[:, None]
    return np.where(there, begin[:, None] + offset, 0), there
