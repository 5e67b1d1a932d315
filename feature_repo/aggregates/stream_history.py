"""A user's newest exposures as the stream worker keeps them: ordered as the batch engine orders them, whatever came first."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

import orjson

from feature_repo.feature_rows import HEADS, HISTORY_LENGTH
from feature_repo.history import UNDATED_AT

_BITS = {head: 1 << index for index, head in enumerate(HEADS)}
WAITING = 50  # actions kept that arrived before their exposure did


@dataclass
class Exposure:
    """One exposure. Undated ones carry the upper bound of their time in `at_us`."""

    at_us: int
    dated: bool
    position: int
    event_id: str
    request_id: str
    post_id: int
    author_id: int
    topic: int
    product: int
    actions: int = 0

    def order(self) -> tuple[int, bool, int, str]:
        """The order of `exposures.exposure_log`: time, undated first, place in the list, event id."""
        return (self.at_us, self.dated, self.position, self.event_id)


_VALUES = attrgetter(*(one.name for one in fields(Exposure)))


def pack(exposures: list[tuple], waiting: list[tuple]) -> bytes:
    """The stored form of a history; each exposure is a tuple in the order of Exposure's fields."""
    return orjson.dumps({"exposures": exposures, "waiting": waiting})


@dataclass
class StreamHistory:
    """The newest HISTORY_LENGTH exposures of one user, oldest first, and the actions that wait for their exposure."""

    exposures: list[Exposure] = field(default_factory=list)
    waiting: list[tuple[int, str, bool, int, str]] = field(default_factory=list)  # post, request, dated, at, action

    def show(self, exposure: Exposure) -> None:
        """Add an exposure and the waiting actions that answer it."""
        kept = []
        for action in self.waiting:
            if not _answers(exposure, *action[:4]):
                kept.append(action)
            else:
                exposure.actions |= _BITS[action[4]]
        self.waiting = kept
        self.exposures.append(exposure)
        self.exposures.sort(key=Exposure.order)
        del self.exposures[:-HISTORY_LENGTH]

    def act(self, post_id: int, request_id: str, dated: bool, at_us: int, action: str) -> None:
        """Set the action's bit on every exposure it answers; let it wait where there is none."""
        answered = [exposure for exposure in self.exposures if _answers(exposure, post_id, request_id, dated, at_us)]
        for exposure in answered:
            exposure.actions |= _BITS[action]
        if not answered:
            self.waiting = [*self.waiting, (post_id, request_id, dated, at_us, action)][-WAITING:]

    def stored(self) -> dict[str, list[int]]:
        """The columns of `history.STORED_COLUMNS`."""
        names = ("post_id", "author_id", "topic", "actions", "product")
        columns = {name: [getattr(exposure, name) for exposure in self.exposures] for name in names}
        columns["at_us"] = [exposure.at_us if exposure.dated else UNDATED_AT for exposure in self.exposures]
        return columns

    def to_bytes(self) -> bytes:
        return pack([_VALUES(one) for one in self.exposures], self.waiting)

    @staticmethod
    def from_bytes(content: bytes) -> StreamHistory:
        kept: dict[str, Any] = orjson.loads(content)
        return StreamHistory([Exposure(*values) for values in kept["exposures"]], [tuple(one) for one in kept["waiting"]])


def _answers(exposure: Exposure, post_id: int, request_id: str, dated: bool, at_us: int) -> bool:
    """Whether an action belongs to the exposure: same post, request and kind, and not before it."""
    return (
        exposure.post_id == post_id
        and exposure.request_id == request_id
        and exposure.dated == dated
        and at_us >= exposure.at_us
    )
