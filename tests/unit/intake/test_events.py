"""The door for client events: nothing bad passes, nothing disappears, and every refusal has its reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.contracts import EVENTS, Action, check_table
from services.intake.events import examine

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
GOOD = {"user_id": 1, "post_id": 10, "action": "click"}


def author_of(post_id: int) -> int | None:
    return 900 + post_id if post_id < 100 else None


def reason(event: object) -> str:
    examined = examine([event], author_of, now=NOW)
    assert examined.accepted == []
    return examined.rejected[0].reason


def test_a_bare_event_is_completed():
    accepted = examine([GOOD], author_of, now=NOW).accepted[0]
    assert (accepted["author_id"], accepted["product"]) == (910, "for_you")
    assert accepted["occurred_at"] == round(NOW.timestamp() * 1e6)
    assert len(accepted["event_id"]) == 36


def test_a_users_batch_needs_the_user_once():
    accepted = examine([{"post_id": 10, "action": "like"}, GOOD | {"user_id": 2}], author_of, user_id=5, now=NOW).accepted
    assert [event["user_id"] for event in accepted] == [5, 2]


def test_what_the_client_says_is_kept():
    sent = GOOD | {
        "event_id": "e", "author_id": 3, "value": 1500.0, "product": "tab_1", "position": 4, "release": "r1",
        "propensity": 0.5, "request_id": "q", "action": "dwell", "occurred_at": "2024-05-01T13:00:00.000001+02:00",
    }  # fmt: skip
    accepted = examine([sent], author_of, now=NOW).accepted[0]
    assert accepted == sent | {"occurred_at": 1_714_561_200_000_001}


@pytest.mark.parametrize("action", list(Action))
def test_every_action_of_the_contract_passes(action):
    assert len(examine([GOOD | {"action": action.value}], author_of, now=NOW).accepted) == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"action": "applaud"}, "action is not in the closed set"),
        ({"user_id": -1}, "user_id"),
        ({"user_id": "1"}, "user_id"),
        ({"user_id": True}, "user_id"),
        ({"user_id": 2**63}, "user_id"),
        ({"post_id": None}, "post_id"),
        ({"post_id": 500}, "post 500 is unknown"),
        ({"value": float("nan")}, "value is not finite"),
        ({"value": float("inf")}, "value is not finite"),
        ({"propensity": 0}, "propensity is outside"),
        ({"propensity": 1.5}, "propensity is outside"),
        ({"event_id": ""}, "event_id is empty"),
        ({"occurred_at": "2024-05-01T12:00:00"}, "occurred_at"),
        ({"occurred_at": (NOW + timedelta(hours=1)).isoformat()}, "in the future"),
        ({"position": -1}, "position"),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
def test_a_broken_rule_is_named(change, named):
    assert named in reason(GOOD | change)


@pytest.mark.parametrize("item", [None, 3, "click", [], [GOOD]], ids=repr)
def test_what_is_no_event_is_refused(item):
    assert reason(item).startswith("event")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
FIELDS = st.dictionaries(st.sampled_from([*EVENTS.names, "other"]), JSON, max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(JSON, FIELDS, FIELDS.map(lambda fields: GOOD | fields)), max_size=6))
def test_every_event_is_accepted_or_rejected_once_and_what_is_accepted_holds_to_the_contract(sent):
    examined = examine(sent, author_of, now=NOW)
    assert len(examined.accepted) + len(examined.rejected) == len(sent)
    assert all(rejected.reason and rejected.sent is sent[rejected.index] for rejected in examined.rejected)
    if examined.accepted:
        schema = {**pl.from_arrow(EVENTS.empty_table()).schema, "occurred_at": pl.Int64}
        rows = pl.DataFrame(examined.accepted, schema=schema)
        check_table("events", rows.with_columns(pl.from_epoch("occurred_at", "us").dt.replace_time_zone("UTC")))
