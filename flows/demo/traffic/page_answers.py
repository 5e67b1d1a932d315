"""What people do with the pages that they were served, by the world's ground truth, as events that a client sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from feature_repo.contracts import DURATIONS, Action
from feature_repo.datasets.world import World

SECOND_US = 1_000_000
SECONDS_A_POST = 9  # between two posts of a visit, as in the world's log
# Seconds after its impression at which an action is sent; all within the post's own time.
_AFTER_S = {Action.CLICK: 1, Action.NOT_INTERESTED: 2, Action.DWELL: 8}
_OTHERWISE_AFTER_S = 4


@dataclass(frozen=True)
class Look:
    """The posts of one page that one person looks at, from the top."""

    user_id: int
    request_id: str
    product: str
    post_ids: list[int | str]  # as they were served
    first_slot: int  # of the visit, at which the first of them stands
    shown_us: int

    @property
    def end_us(self) -> int:
        """When the person has looked at the last of them."""
        return self.shown_us + len(self.post_ids) * SECONDS_A_POST * SECOND_US


@dataclass(frozen=True)
class Answered:
    """What came of a look: bool (n,) each, and the events as a client sends them."""

    clicked: np.ndarray
    not_interested: np.ndarray
    followed: np.ndarray
    events: list[dict]


def answer_looks(world: World, looks: Sequence[Look]) -> list[Answered]:
    """The answers of many looks, computed together. Posts that are not of this world are seen and answered by nothing."""
    sizes = [len(look.post_ids) for look in looks]
    served = [post for look in looks for post in look.post_ids]
    post = np.array([post if type(post) is int and 0 <= post < world.config.posts else -1 for post in served], np.int64)
    user = np.repeat(np.array([look.user_id for look in looks], np.int64), sizes)
    place = np.concatenate([np.arange(size) for size in sizes]) if looks else np.empty(0, np.int64)
    slot = place + np.repeat(np.array([look.first_slot for look in looks], np.int64), sizes)
    shown_us = np.repeat(np.array([look.shown_us for look in looks], np.int64), sizes) + place * SECONDS_A_POST * SECOND_US
    known = post >= 0
    happened = {
        action: _spread(answer, known)
        for action, answer in world.respond(user[known], post[known], shown_us[known], slot[known]).items()
    }
    ends = np.cumsum(sizes)
    return [
        Answered(
            happened[Action.CLICK][end - size : end],
            happened[Action.NOT_INTERESTED][end - size : end],
            happened[Action.FOLLOW][end - size : end],
            _events(look, happened, slice(end - size, end), shown_us),
        )
        for look, size, end in zip(looks, sizes, ends, strict=True)
    ]


def _spread(answer: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`answer` of the known rows at their places, false or 0 at all others."""
    whole = np.zeros(len(known), answer.dtype)
    whole[known] = answer
    return whole


def _events(look: Look, happened: dict[Action, np.ndarray], rows: slice, shown_us: np.ndarray) -> list[dict]:
    """Events of one look in the order of time; `rows` are its own of `happened` and `shown_us`."""
    dwell = happened[Action.DWELL][rows]
    events = [_event(look, place, Action.IMPRESSION, at, None) for place, at in enumerate(shown_us[rows].tolist())]
    for action, answers in happened.items():
        after_us = _AFTER_S.get(action, _OTHERWISE_AFTER_S) * SECOND_US
        for place in np.flatnonzero(answers[rows]).tolist():
            value = float(dwell[place]) if action in DURATIONS else None
            events.append(_event(look, place, action, int(shown_us[rows][place]) + after_us, value))
    return sorted(events, key=lambda event: event["occurred_at"])


def _event(look: Look, place: int, action: Action, at_us: int, value: float | None) -> dict:
    post = look.post_ids[place]
    event = {
        "event_id": f"{look.request_id}-{post}-{action.value}",
        "post_id": post,
        "action": action.value,
        "product": look.product,
        "position": look.first_slot + place,
        "request_id": look.request_id,
        "occurred_at": moment(at_us),
    }
    return event if value is None else {**event, "value": value}


def moment(at_us: int) -> str:
    """UTC microseconds as the API takes moments."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat()
