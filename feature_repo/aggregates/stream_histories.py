"""Users' newest exposures as the stream engine keeps them: ordered as the batch engine orders them, whatever came first.

An action sets its bit on every exposure it answers (same post, request and kind, not before it), and waits where there is none.
Dwell is added up: an exposure with several dwell events was watched for their sum, capped, as the aggregates count it too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feature_repo.aggregates.kernel import SAVED, SHOWN, KernelMissing, address, checked, kernel, take_touched, view
from feature_repo.aggregates.stream_events import StreamEvents
from feature_repo.dwell import MOST_TENTHS, tenths_of
from feature_repo.feature_rows import HISTORY_LENGTH
from feature_repo.history import STORED_COLUMNS, UNDATED_AT

WAITING = 50  # actions kept that arrived before their exposure did

EXPOSURE = np.dtype(
    [
        ("at_us", np.int64),
        ("post_id", np.int64),
        ("author_id", np.int64),
        ("request", np.uint64),
        ("event", np.uint64),
        ("actions", np.uint64),  # bits in the order of HEADS
        ("position", np.int32),
        ("topic", np.int32),
        ("product", np.int32),
        ("dwell", np.uint16),  # tenths of a second
        ("dated", np.uint8),
        ("padding", np.uint8, (1,)),
    ]
)
_ANSWER_BYTES = 32
HISTORY = np.dtype(
    [
        ("user_id", np.int64),
        ("newest_us", np.int64),
        ("shown", np.uint32),
        ("saved", np.uint32),
        ("length", np.uint16),
        ("waiting", np.uint16),
        ("padding", np.uint8, (4,)),
        ("exposures", EXPOSURE, (HISTORY_LENGTH,)),
        ("answers", np.uint8, (WAITING, _ANSWER_BYTES)),
    ]
)
if kernel.history_bytes() != HISTORY.itemsize:
    raise KernelMissing("the compiled kernel keeps histories of another length; build it again with `make install`")
if kernel.history_most_dwell() != MOST_TENTHS:
    raise KernelMissing("the compiled kernel caps dwell elsewhere; build it again with `make install`")


class StreamHistories:
    """The newest HISTORY_LENGTH exposures of every user that an event has reached."""

    name = "histories"

    def __init__(self, most: int) -> None:
        self._all = kernel.histories_new(most)
        if not self._all:
            raise MemoryError(f"no address space for {most:,} histories")

    def __del__(self) -> None:
        if getattr(self, "_all", None):
            kernel.histories_free(self._all)

    def __len__(self) -> int:
        return kernel.histories_used(self._all)

    @property
    def rows(self) -> np.ndarray:
        """All histories, HISTORY (len,), the table's own memory."""
        return view(kernel.histories_all(self._all), len(self), HISTORY)

    def fold(self, events: StreamEvents) -> None:
        """Apply events, none of which was applied before; those of one call may come in any order."""
        ids = events.ids
        topic, product = ids["topic"].astype(np.int32), ids["product"].astype(np.int32)
        dated = (1 - events.undated).astype(np.uint8)
        columns = (
            *(events.heads(), ids["user_id"], ids["post_id"], ids["author_id"], topic, product, events.position, dated),
            *(events.at_us, events.request_hash, events.event_hash, tenths_of(events.seconds)),
        )
        checked(kernel.histories_apply(self._all, len(events), *(address(column) for column in columns)), self.name)

    def rows_of(self, user_ids: np.ndarray) -> np.ndarray:
        """Row of each user (int64 (n,)), -1 where there is none."""
        found = np.empty(len(user_ids), np.int64)
        kernel.histories_find(self._all, len(user_ids), address(user_ids), address(found))
        return found

    def shown_rows(self) -> np.ndarray:
        """Rows touched since the last call, uint32."""
        return take_touched("histories", self._all, SHOWN)

    def unsaved_rows(self) -> np.ndarray:
        """Rows touched since the last call, for those who save them."""
        return take_touched("histories", self._all, SAVED)

    def restore(self, histories: np.ndarray) -> None:
        """Put `histories` (HISTORY (n,)) in their users' places."""
        checked(kernel.histories_restore(self._all, len(histories), address(np.ascontiguousarray(histories))), self.name)


def stored_exposures(histories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The packed arrays (`history.STORED_COLUMNS`) of `histories` (HISTORY (n,)).

    Returns (values int64, ends int64 (n,)): history i is values[ends[i - 1] : ends[i]].
    """
    kept = np.arange(HISTORY_LENGTH) < histories["length"][:, None]
    flat = histories["exposures"][kept]
    at_us = np.where(flat["dated"] == 1, flat["at_us"], UNDATED_AT)
    columns: Sequence[np.ndarray] = [*(flat[name] for name in STORED_COLUMNS[:-1]), at_us]
    packed = np.stack([column.astype(np.int64) for column in columns], axis=1)
    return packed.reshape(-1), np.cumsum(histories["length"].astype(np.int64)) * len(STORED_COLUMNS)
