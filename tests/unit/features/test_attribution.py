"""The exposure rule by its named cases: the rule itself and both engines say the same of each."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from feature_repo.aggregates.stream_histories import HISTORY, KEPT
from feature_repo.attribution import ANSWERING, WINDOW_US, Acted, Shown, answered
from feature_repo.contracts import HISTORY_BEFORE, Action
from feature_repo.exposures import exposure_log
from feature_repo.feature_rows import HISTORY_LENGTH
from feature_repo.heads import HEADS
from feature_repo.history import STORED_COLUMNS
from feature_repo.training_rows import LABEL_GRACE
from tests.exposure_logs import HOUR, log_of, stored_by_batch, stored_by_stream, streamed

MINUTE = HOUR // 60


def row(action: str, at: int, request: str | None = None, *, post: int = 10, position: int | None = None, **more) -> dict:
    return {"user_id": 1, "post_id": post, "action": action, "at": at, "request_id": request, "position": position} | {
        "product": "news",
        "value": None,
        **more,
    }


def undated(action: str, place: int, request: str | None = None) -> dict:
    return row(action, 0, request, position=place, product=HISTORY_BEFORE)


SHOWN, CLICK = "impression", "click"
CASES = {  # events; then for each action, in their order, which of the impressions it answers (in their order), -1 for none
    "shown, clicked, shown again, clicked again": (
        [row(SHOWN, 0), row(CLICK, 1), row(SHOWN, 2), row(CLICK, 3)],
        [0, 1],
    ),
    "shown, clicked, shown again": ([row(SHOWN, 0), row(CLICK, 1), row(SHOWN, 2)], [0]),
    "clicked before both exposures": ([row(CLICK, 0), row(SHOWN, 1), row(SHOWN, 2)], [-1]),
    "clicked in the moment of the exposure": ([row(SHOWN, 5), row(CLICK, 5)], [0]),
    "two exposures of one moment": ([row(SHOWN, 5, position=2), row(SHOWN, 5, position=1), row(CLICK, 6)], [0]),
    "the request decides before the time": ([row(SHOWN, 0, "a"), row(SHOWN, 1, "b"), row(CLICK, 2, "a")], [0]),
    "an unknown request falls back to the newest": ([row(SHOWN, 0, "a"), row(SHOWN, 1, "b"), row(CLICK, 2, "c")], [1]),
    "an action without a request takes the newest": ([row(SHOWN, 0), row(SHOWN, 1, "b"), row(CLICK, 2)], [1]),
    "an empty request is none": ([row(SHOWN, 0, ""), row(SHOWN, 1, "b"), row(CLICK, 2, "")], [1]),
    "a request shown twice": ([row(SHOWN, 0, "a"), row(SHOWN, 1, "a"), row(CLICK, 2, "a")], [1]),
    "the same request, but later": ([row(SHOWN, 0), row(CLICK, 1, "a"), row(SHOWN, 2, "a")], [0]),
    "another post": ([row(SHOWN, 0), row(CLICK, 1, post=11)], [-1]),
    "at the window's end": ([row(SHOWN, 0), row(CLICK, WINDOW_US[CLICK])], [0]),
    "after the window": ([row(SHOWN, 0, "a"), row(CLICK, WINDOW_US[CLICK] + 1, "a")], [-1]),
    "each action has its own window": ([row(SHOWN, 0), row(CLICK, 20 * HOUR), row("like", 20 * HOUR)], [-1, 0]),
    "a profile visit has not the window of a like": (
        [row(SHOWN, 0), row("profile_click", 6 * HOUR), row("profile_click", 6 * HOUR + 1), row("like", 24 * HOUR)],
        [0, -1, 0],
    ),
    "a dataset's own actions have the windows of their roles": (
        [row(SHOWN, 0), row("own_1", 7 * HOUR), row("own_3", 12 * HOUR), row("own_4", 13 * HOUR), row("own_5", 24 * HOUR)],
        [-1, 0, -1, 0],
    ),
    "the own request is outside the window": (
        [row(SHOWN, 0, "a"), row(SHOWN, 5 * HOUR, "b"), row(CLICK, 7 * HOUR, "a")],
        [1],
    ),
    "undated: the last of the list": ([undated(SHOWN, 0), undated(SHOWN, 4), undated("like", 1)], [1]),
    "undated: another request": ([undated(SHOWN, 0, "a"), undated("like", 1)], [-1]),
    "undated and dated do not meet": ([undated(SHOWN, 0), row(SHOWN, 0), undated("like", 0), row(CLICK, 0)], [0, 1]),
}


def told(events: list[dict]) -> list[int]:
    """What the rule itself says, for each action which of the impressions it answers."""
    order = sorted((one for one in events if one["action"] == SHOWN), key=lambda one: (one["at"], one["position"] or -1))
    exposures = [Shown(*_key(one), one["at"], one["product"] != HISTORY_BEFORE) for one in order]
    acted = [Acted(*_key(one), one["action"], one["at"], one["product"] != HISTORY_BEFORE) for one in _actions(events)]
    places = [answered(one, exposures) for one in acted]
    shown = [one for one in events if one["action"] == SHOWN]
    return [-1 if place < 0 else shown.index(order[place]) for place in places]


def _key(one: dict) -> tuple[int, int, str]:
    return one["user_id"], one["post_id"], one["request_id"] or ""


def _actions(events: list[dict]) -> list[dict]:
    return [one for one in events if one["action"] != SHOWN]


def bits(events: list[dict], answers: list[int]) -> list[int]:
    """Masks of the impressions in the order of a history, where the actions of `events` answer `answers`."""
    shown = [one for one in events if one["action"] == SHOWN]
    masks = [0] * len(shown)
    for one, place in zip(_actions(events), answers, strict=True):
        if place >= 0:
            masks[place] |= 1 << HEADS.index(one["action"])
    order = sorted(
        range(len(shown)),
        key=lambda place: (shown[place]["at"], shown[place]["product"] != HISTORY_BEFORE, shown[place]["position"] or -1),
    )
    return [masks[place] for place in order]


def masks_of(stored: list[int]) -> list[int]:
    return stored[STORED_COLUMNS.index("actions") :: len(STORED_COLUMNS)]


@pytest.mark.parametrize(("events", "answers"), CASES.values(), ids=CASES)
def test_an_action_answers_one_exposure_whatever_comes_first(events, answers):
    assert told(events) == answers
    rows = log_of(events)
    log = exposure_log(rows)
    assert masks_of(stored_by_batch(log, 1)) == bits(events, answers)
    assert log.unanswered.sum() == answers.count(-1)
    for order in permutations(range(len(events))):
        histories = streamed(rows, order, [1, 2, 3])
        assert masks_of(stored_by_stream(histories, 1)) == bits(events, answers)
        assert histories.unanswered == answers.count(-1)


def test_a_late_exposure_takes_over_the_dwell_that_it_should_have():
    events = log_of([row(SHOWN, 0), row("dwell", 9, value=2_000.0), row("dwell", 2, value=700.0), row(SHOWN, 5)])
    place, width = STORED_COLUMNS.index("dwell"), len(STORED_COLUMNS)
    histories = streamed(events, range(3), [1])
    assert stored_by_stream(histories, 1)[place::width] == [27]
    assert stored_by_stream(streamed(events, range(4), [1, 2, 3]), 1)[place::width] == [7, 20]
    assert stored_by_batch(exposure_log(events), 1)[place::width] == [7, 20]


def test_actions_beyond_those_kept_stay_where_they_are_and_memory_does_not_grow():
    old = [row(SHOWN, 0), row("like", 1), *(row(CLICK, 10 + number) for number in range(KEPT))]
    events = log_of([*old, row(SHOWN, 1), row(SHOWN, 5)])
    histories = streamed(events, range(events.height), [3])
    assert histories.rows["kept"].tolist() == [KEPT]
    assert histories.rows.nbytes == HISTORY.itemsize == 6432
    like, click = 1 << HEADS.index("like"), 1 << HEADS.index(CLICK)
    assert masks_of(stored_by_stream(histories, 1)) == [like, 0, click]  # the like of the second exposure came too early
    assert masks_of(stored_by_batch(exposure_log(events), 1)) == [0, like, click]


def test_an_exposure_that_fell_off_leaves_its_answers_to_no_other():
    """Its own request decides, also where a newer exposure of the post is kept and the older one is not."""
    others = [row(SHOWN, 100 + number, post=99) for number in range(HISTORY_LENGTH - 1)]
    events = log_of([row(SHOWN, 0, "a"), row(SHOWN, 1, "b"), row(CLICK, 2, "a"), *others])
    for order in (range(events.height), range(events.height)[::-1]):
        histories = streamed(events, order, [1, 20])
        assert masks_of(stored_by_stream(histories, 1)) == [0] * HISTORY_LENGTH
    assert masks_of(stored_by_batch(exposure_log(events), 1)) == [0] * HISTORY_LENGTH


def test_actions_without_an_exposure_are_counted_by_kind():
    log = exposure_log(log_of([row(SHOWN, 5), row(CLICK, 1), row(CLICK, 6), row("dwell", 2), row("dwell", 3, post=12)]))
    assert log.unanswered_actions() == {CLICK: 1, "dwell": 2}
    assert exposure_log(log_of([])).unanswered_actions() == {}


def test_every_window_is_positive_and_no_longer_than_the_grace_of_training_labels():
    assert set(ANSWERING) == {action.value for action in Action} - {SHOWN}
    grace_us = LABEL_GRACE.total_seconds() * 1e6
    assert all(0 < window <= grace_us for window in WINDOW_US.values())
    assert np.all(np.array([WINDOW_US[head] for head in ("video_view", "like")]) > WINDOW_US[CLICK])
