"""Messages from the topic: what is read, and why others are not."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import orjson
import pytest

from feature_repo.aggregates.event_messages import EVENT_SCHEMA, decode

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
    decoded = decode([orjson.dumps({**GOOD, "occurred_at": moment})])
    assert decoded.dead.height == 0
    assert decoded.events["occurred_at"].to_list() == [MOMENT]
    assert {name: decoded.events.schema[name] for name in EVENT_SCHEMA} == dict(EVENT_SCHEMA)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user_id": "seven"}, r"Expected `int \| null`, got `str` - at `\$.user_id`"),
        ({"user_id": True}, r"Expected `int \| null`, got `bool`"),
        ({"user_id": None}, "user_id is null or negative"),
        ({"post_id": 2**63}, "post_id: 9223372036854775808 does not fit"),
        ({"position": 2**31}, "position: 2147483648 does not fit"),
        ({"value": "long"}, r"Expected `float \| null`, got `str` - at `\$.value`"),
        ({"action": 3}, r"Expected `str \| null`, got `int`"),
        ({"action": "stare"}, "action is not in the closed set"),
        ({"occurred_at": "yesterday"}, "occurred_at: 'yesterday' is no moment"),
        ({"occurred_at": 1.5}, r"Expected `str \| int \| null`|Expected `int \| str \| null`"),
        ({"occurred_at": 10**18}, "occurred_at: 1000000000000000000 is no moment: beyond the year 9999"),
        ({"occurred_at": 10**25}, "no moment|Expected|out of range"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named_and_the_messages_around_it_are_read(change, reason):
    good = orjson.dumps(GOOD)
    bad = json.dumps({**GOOD, **change}).encode()
    decoded = decode([good, bad, good])
    assert decoded.events["message"].to_list() == [0, 2]
    assert decoded.dead["message"].to_list() == [1]
    assert decoded.dead["text"].to_list() == [bad.decode()]
    assert re.search(reason, decoded.dead["reason"][0]), decoded.dead["reason"][0]


@pytest.mark.parametrize("message", [b"", b"garbage", b"[1, 2]", b'"text"', b"null", b"\xff\xfe", b"{},{}"])
def test_what_is_no_json_object_is_refused(message):
    decoded = decode([message, orjson.dumps(GOOD)])
    assert decoded.dead["message"].to_list() == [0]
    assert decoded.events.height == 1


def test_an_array_holds_several_events_each_with_its_message():
    decoded = decode([orjson.dumps([GOOD, {**GOOD, "event_id": "e2"}]), orjson.dumps({**GOOD, "event_id": "e3"}), b"[]"])
    assert decoded.events["event_id"].to_list() == ["e1", "e2", "e3"]
    assert decoded.events["message"].to_list() == [0, 0, 1]
    assert decoded.dead.height == 0


def test_one_bad_event_of_an_array_is_refused_alone():
    decoded = decode([orjson.dumps([GOOD, {**GOOD, "action": "stare"}])])
    assert (decoded.events.height, decoded.dead.height) == (1, 1)


def test_no_messages_are_no_events():
    decoded = decode([])
    assert (decoded.events.height, decoded.dead.height) == (0, 0)
