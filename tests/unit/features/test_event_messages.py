"""Messages from the topic: what is read, and why others are not."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import orjson
import pytest

from feature_repo.aggregates.event_messages import UnreadableEvent, event_frame, read_event

GOOD = {
    "event_id": "e1",
    "user_id": 7,
    "post_id": 8,
    "author_id": 9,
    "action": "click",
    "product": "tab_1",
    "occurred_at": "2022-05-02T08:00:00.000123+08:00",
}
MOMENT = datetime(2022, 5, 2, 0, 0, 0, 123, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment",
    ["2022-05-02T08:00:00.000123+08:00", "2022-05-02T00:00:00.000123", "2022-05-02T00:00:00.000123Z", 1651449600000123],
)
def test_every_spelling_of_a_moment_is_the_same_microsecond(moment):
    row = read_event(orjson.dumps({**GOOD, "occurred_at": moment}))
    assert row["occurred_at"] == MOMENT
    assert event_frame([row])["occurred_at"].dt.epoch("us").to_list() == [1651449600000123]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user_id": "seven"}, "user_id: an integer is wanted, got 'seven'"),
        ({"user_id": True}, "user_id: an integer is wanted"),
        ({"post_id": 2**70}, "post_id: an integer is wanted|does not fit|not JSON"),
        ({"value": "long"}, "value: a number is wanted"),
        ({"action": 3}, "action: text is wanted"),
        ({"occurred_at": "yesterday"}, "occurred_at: 'yesterday' is no moment"),
        ({"occurred_at": 1.5}, "occurred_at: ISO 8601 text or integer microseconds"),
        ({"occurred_at": 10**30}, "occurred_at: .* is no moment|ISO 8601|not JSON"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named_with_its_value(change, reason):
    with pytest.raises(UnreadableEvent, match=reason):
        read_event(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize("message", [b"", b"garbage", b"[1, 2]", b'"text"', b"null", b"\xff\xfe"])
def test_what_is_no_json_object_is_refused(message):
    with pytest.raises(UnreadableEvent):
        read_event(message)
