"""A user's newest exposures as the stream worker keeps them: ordered as the batch engine orders them, whatever came first.

An exposure is a plain list (thousands are decoded per second), its fields named by the constants below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import orjson

from feature_repo.feature_rows import HEADS, HISTORY_LENGTH
from feature_repo.history import UNDATED_AT

# Fields of an exposure. The first four are its order, the same as in `exposures.exposure_frame`: time (an upper bound where
# undated), undated before dated, place in an undated list, event id.
FIELDS = ("at", "dated", "position", "event_id", "request_id", "post_id", "author_id", "topic", "product", "actions")
_AT, _DATED, _POSITION, _EVENT, _REQUEST, _POST, _AUTHOR, _TOPIC, _PRODUCT, _ACTIONS = range(len(FIELDS))
_ORDER = itemgetter(_AT, _DATED, _POSITION, _EVENT)

_BITS = {head: 1 << index for index, head in enumerate(HEADS)}
WAITING = 50  # actions kept that arrived before their exposure did


def pack(exposures: list[Any], waiting: list[Any]) -> bytes:
    """The stored form of a history; each exposure is a sequence in the order of FIELDS."""
    return orjson.dumps({"exposures": exposures, "waiting": waiting})


@dataclass
class StreamHistory:
    """The newest HISTORY_LENGTH exposures of one user, oldest first, and the actions that wait for their exposure."""

    exposures: list[list[Any]] = field(default_factory=list)
    waiting: list[list[Any]] = field(default_factory=list)  # post_id, request_id, dated, at_us, action

    def show(self, exposure: list[Any]) -> None:
        """Add an exposure (FIELDS) with the waiting actions that answer it."""
        kept = []
        for action in self.waiting:
            if _answers(exposure, *action[:4]):
                exposure[_ACTIONS] |= _BITS[action[4]]
            else:
                kept.append(action)
        self.waiting = kept
        self.exposures.append(exposure)
        self.exposures.sort(key=_ORDER)
        del self.exposures[:-HISTORY_LENGTH]

    def act(self, post_id: int, request_id: str, dated: bool, at_us: int, action: str) -> None:
        """Set the action's bit on every exposure it answers; let it wait where there is none."""
        answered = [exposure for exposure in self.exposures if _answers(exposure, post_id, request_id, dated, at_us)]
        for exposure in answered:
            exposure[_ACTIONS] |= _BITS[action]
        if not answered:
            self.waiting = [*self.waiting, [post_id, request_id, dated, at_us, action]][-WAITING:]

    def stored(self) -> list[int]:
        """The packed array of `history.STORED_COLUMNS`."""
        packed: list[int] = []
        for one in self.exposures:
            at_us = one[_AT] if one[_DATED] else UNDATED_AT
            packed += (one[_POST], one[_AUTHOR], one[_TOPIC], one[_ACTIONS], one[_PRODUCT], at_us)
        return packed

    def to_bytes(self) -> bytes:
        """The stored form."""
        return pack(self.exposures, self.waiting)

    @staticmethod
    def from_bytes(content: bytes) -> StreamHistory:
        """Read the stored form."""
        return StreamHistory(**orjson.loads(content))


def _answers(exposure: list[Any], post_id: int, request_id: str, dated: bool, at_us: int) -> bool:
    """Whether an action belongs to the exposure: same post, request and kind, and not before it."""
    return (
        exposure[_POST] == post_id and exposure[_REQUEST] == request_id and exposure[_DATED] == dated and at_us >= exposure[_AT]
    )
