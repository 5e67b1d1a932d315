"""Users' newest exposures and newest actions as the stream engine keeps them, whatever came first.

Which exposure an action answers is decided when a history is read (`stored_exposures`), by the rule of attribution.py: an
action that came before its exposure waits for it, and an exposure that comes late takes over the actions that it should have.
Dwell is added up: an exposure with several dwell events was watched for their sum, capped, as the aggregates count it too.

A user takes HISTORY.itemsize bytes (6.4 KB) and no more. That bounds how far events may come out of order. Beyond
HISTORY_LENGTH exposures the oldest is forgotten: an action that comes after that cannot answer it. Beyond KEPT actions the
oldest stays with the exposure that it answers then: an exposure that comes after that cannot take it over.
"""

from __future__ import annotations

import numpy as np

from feature_repo.aggregates.kernel import SAVED, SHOWN, KernelMissing, address, checked, kernel, take_touched, view
from feature_repo.aggregates.stream_events import DWELT, StreamEvents
from feature_repo.attribution import WINDOW_US
from feature_repo.contracts import Action
from feature_repo.dwell import MOST_TENTHS, tenths_of
from feature_repo.feature_rows import HISTORY_LENGTH
from feature_repo.heads import HEADS
from feature_repo.history import STORED_COLUMNS

KEPT = 100  # newest actions of a user, so that a late exposure can take over those that answer it

EXPOSURE = np.dtype(
    [
        ("at_us", np.int64),
        ("post_id", np.int64),
        ("author_id", np.int64),
        ("request", np.uint64),
        ("event", np.uint64),
        ("actions", np.uint64),  # bits in the order of HEADS: of actions that are no longer kept one by one
        ("position", np.int32),
        ("topic", np.int32),
        ("product", np.int32),
        ("dwell", np.uint16),  # tenths of a second, likewise
        ("dated", np.uint8),
        ("padding", np.uint8, (1,)),
    ]
)
_ANSWER_BYTES = 32
_WITHIN_US = np.zeros(256, np.int64)  # attribution window of each code of `StreamEvents.heads`
_WITHIN_US[: len(HEADS)] = [WINDOW_US[head] for head in HEADS]
_WITHIN_US[DWELT] = WINDOW_US[Action.DWELL.value]
HISTORY = np.dtype(
    [
        ("user_id", np.int64),
        ("newest_us", np.int64),
        ("shown", np.uint32),
        ("saved", np.uint32),
        ("length", np.uint16),
        ("kept", np.uint16),
        ("unanswered", np.uint32),
        ("exposures", EXPOSURE, (HISTORY_LENGTH,)),
        ("answers", np.uint8, (KEPT, _ANSWER_BYTES)),
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
    def unanswered(self) -> int:
        """Actions that have come and answer no exposure that was kept when they met: waiting ones, and those given up."""
        return kernel.histories_unanswered(self._all)

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
        checked(kernel.histories_apply(self._all, len(events), *map(address, (_WITHIN_US, *columns))), self.name)

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
    histories = np.ascontiguousarray(histories)
    values = np.empty(int(histories["length"].sum()) * len(STORED_COLUMNS), np.int64)
    ends = np.empty(len(histories), np.int64)
    kernel.histories_stored(len(histories), *map(address, (histories, _WITHIN_US, values, ends)))
    return values, ends
