"""The door for client events: nothing bad passes, nothing disappears, and every refusal has its reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.contracts import EVENTS, Action, check_table
from feature_repo.event_times import AHEAD_S, INTAKE_AHEAD_S
from feature_repo.ids import FIRST_ALLOTTED, IdTable, RememberedIds
from feature_repo.ids.post_authors import Claim, PostAuthors
from services.intake.events import LETTER_CHARACTERS, MOST_BYTES, Examined, Platform, action_of, dead_letter, examine
from services.mixer.recently_served import RecentlyServed

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
GOOD = {"user_id": 1, "post_id": 10, "action": "click"}


def author_of(post_id: int) -> int | None:
    return 900 + post_id if post_id < 100 else None


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('intake') / 'platform.db'}"


@pytest.fixture(scope="module")
def platform(url) -> Platform:
    served = RecentlyServed("r7")
    served.add("q7", 1, np.array([10]))
    return Platform(RememberedIds(url), author_of, served.of, earliest=datetime(2020, 1, 1, tzinfo=UTC))


@pytest.fixture
def take(platform):
    """Examine events at NOW."""

    def examined(*events: object, **more) -> Examined:
        return examine(events, platform, now=NOW, **more)

    return examined


@pytest.fixture
def reason(take):
    """Why one event is refused."""

    def of(event: object) -> str:
        examined = take(event)
        assert examined.accepted == []
        return examined.rejected[0].reason

    return of


def test_a_bare_event_is_completed(take):
    accepted = take(GOOD).accepted[0]
    assert (accepted["author_id"], accepted["product"]) == (910, "for_you")
    assert accepted["occurred_at"] == round(NOW.timestamp() * 1e6)
    assert len(accepted["event_id"]) == 36


def test_a_users_batch_needs_the_user_once(take):
    accepted = take({"post_id": 10, "action": "like"}, GOOD | {"user_id": 2}, user_id=5).accepted
    assert [event["user_id"] for event in accepted] == [5, 2]


def test_what_the_client_says_is_kept(take):
    sent = GOOD | {
        "event_id": "e", "author_id": 910, "value": 1500.0, "product": "our shop", "position": 4, "request_id": "q",
        "action": "dwell", "occurred_at": "2024-05-01T13:00:00.000001+02:00",
    }  # fmt: skip
    accepted = take(sent).accepted[0]
    assert accepted == sent | {"occurred_at": 1_714_561_200_000_001, "release": None, "propensity": None}


def test_release_and_propensity_are_those_of_the_page_that_was_served(take):
    claimed = GOOD | {"release": "forged", "propensity": 0.01}
    events = take(
        claimed | {"request_id": "q7"}, claimed | {"request_id": "q7", "user_id": 2}, claimed, GOOD | {"propensity": []}
    )
    assert [(event["release"], event["propensity"]) for event in events.accepted] == [("r7", 1.0), *[(None, None)] * 3]


def test_an_event_id_of_the_platforms_own_impressions_is_refused(reason):
    for event_id in ("derived-1", "sampled-e7"):
        assert reason(GOOD | {"event_id": event_id}).startswith("event_id begins with 'derived-' or 'sampled-'")


def test_the_author_is_the_posts_own(take, reason):
    assert take(GOOD | {"author_id": "910"}).accepted[0]["author_id"] == 910
    assert reason(GOOD | {"author_id": 911}) == "author_id 911 is not the author of post 10; leave author_id out"
    assert take(GOOD | {"post_id": 500, "author_id": 4}).accepted[0]["author_id"] == 4


def test_a_new_posts_first_author_holds_for_the_batch_and_for_all_that_follows(take, reason, url):
    first = GOOD | {"post_id": 700, "author_id": 4}
    unsaid = GOOD | {"post_id": 700}
    examined = take(unsaid, first, first | {"author_id": 5}, unsaid)
    assert [event["author_id"] for event in examined.accepted] == [4, 4]
    assert [(one.index, one.reason) for one in examined.rejected] == [
        (0, "post 700 is unknown: send author_id with the event"),
        (2, "author_id 5 is not the author of post 700; leave author_id out"),
    ]
    assert reason(first | {"author_id": 6}) == "author_id 6 is not the author of post 700; leave author_id out"
    restarted = Platform(RememberedIds(url), author_of)
    again = examine([unsaid, first | {"author_id": "5"}], restarted, now=NOW)
    assert [event["author_id"] for event in again.accepted] == [4]
    assert again.rejected[0].reason == "author_id 5 is not the author of post 700; leave author_id out"


def test_a_new_post_with_a_text_id_keeps_its_first_author_too(take, reason):
    first = GOOD | {"post_id": "p/700", "author_id": "ada"}
    assert len(take(first, GOOD | {"post_id": "p/700"}).accepted) == 2
    assert reason(first | {"author_id": "bob"}) == "author_id bob is not the author of post p/700; leave author_id out"


def test_a_refused_event_claims_no_post(take):
    assert take(GOOD | {"post_id": 701, "author_id": 4, "value": -1}).accepted == []
    assert take(GOOD | {"post_id": 701, "author_id": 5}).accepted[0]["author_id"] == 5


def test_an_author_that_another_process_claimed_meanwhile_stays(platform, url, monkeypatch):
    rival = PostAuthors(url)
    look = platform.ids.post_authors.of

    def beaten(posts):
        found = look(posts)
        rival.claim({702: Claim(9, 1)})
        return found

    monkeypatch.setattr(platform.ids.post_authors, "of", beaten)
    examined = examine([GOOD | {"post_id": 702, "author_id": 4}], platform, now=NOW)
    assert examined.accepted == []
    assert examined.rejected[0].reason == "author_id 4 is not the author of post 702; leave author_id out"


def test_text_ids_are_allotted_numbers_and_only_for_accepted_events(take, url):
    sent = {"user_id": "ada", "post_id": "p/1", "author_id": "bob", "action": "click"}
    accepted = take(sent, sent | {"user_id": "nobody", "action": "applaud"}, sent | {"user_id": "bob"}).accepted
    numbers = [(event["user_id"], event["post_id"], event["author_id"]) for event in accepted]
    table = IdTable(url)
    ada, bob, post = (table.known_number(kind, text) for kind, text in (("user", "ada"), ("user", "bob"), ("post", "p/1")))
    assert numbers == [(ada, post, bob), (bob, post, bob)]
    assert min(ada, bob, post) >= FIRST_ALLOTTED
    assert table.known_number("user", "nobody") is None


def test_ids_that_no_float_holds_pass_unchanged(take):
    accepted = take(GOOD | {"user_id": 2**53 + 1}, GOOD | {"user_id": str(FIRST_ALLOTTED - 1)}).accepted
    assert [event["user_id"] for event in accepted] == [2**53 + 1, FIRST_ALLOTTED - 1]


@pytest.mark.parametrize("action", list(Action))
def test_every_action_of_the_contract_passes(take, action):
    slot = action.value.startswith("own_")
    assert len(take(GOOD | {"action": action.value, "value": 3}).accepted) == (0 if slot else 1)


def test_an_own_action_is_known_by_the_name_it_was_declared_with(take, platform, url):
    IdTable(url).codes("own_action:liked", pl.Series(["wishlist", "cart"]))
    IdTable(url).codes("own_action:opened", pl.Series(["play"]))
    platform.ids.reload()
    accepted = take(*(GOOD | {"action": name} for name in ("cart", "play", "like"))).accepted
    assert [event["action"] for event in accepted] == ["own_6", "own_1", "like"]


def test_an_own_action_that_is_named_like_one_of_the_contract_is_refused_since_it_could_be_either():
    with pytest.raises(ValueError, match="action 'click' is both .* rename it in the mapping and ingest again"):
        action_of("click", {"click": "own_1"})


def test_an_unknown_action_is_refused_with_the_known_ones_and_a_slot_is_none():
    own = {"play": "own_1", "cart": "own_6"}
    assert action_of("cart", own) == "own_6"
    for name in ("own_6", "applaud"):
        with pytest.raises(ValueError, match=f"action '{name}' is not known; known actions: impression, .*, play, cart$"):
            action_of(name, own)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"action": "applaud"}, "action 'applaud' is not known; known actions: impression, click"),
        ({"user_id": ""}, "user_id: an id may not be empty or blank"),
        ({"user_id": " "}, "user_id: an id may not be empty or blank"),
        ({"user_id": True}, "user_id"),
        ({"user_id": 1.0}, "user_id"),
        ({"user_id": 2**64}, "user_id: a number beyond 64 bits is no id; write it as text"),
        ({"post_id": None}, "post_id"),
        ({"post_id": 600}, "post 600 is unknown"),
        ({"post_id": "p?"}, "post p? is unknown"),
        ({"value": float("nan")}, "value is not finite"),
        ({"value": float("inf")}, "value is not finite"),
        ({"value": -5}, "value is negative"),
        ({"action": "dwell", "value": 1e300}, "value 1e+300 is above 2,592,000,000, the most milliseconds (30 days)"),
        ({"value": 1e308}, "value 1e+308 is above 1,000,000,000, the most that the value of an event may be"),
        ({"product": "history_before"}, "product 'history_before' is the platform's own name"),
        ({"action": "dwell"}, "value is null: a dwell gives its milliseconds"),
        ({"event_id": ""}, "event_id is empty"),
        ({"event_id": " "}, "event_id is empty"),
        ({"product": ""}, "product is empty"),
        ({"product": "x" * 65}, "product has more than 64 characters"),
        ({"request_id": "\t"}, "request_id is empty"),
        ({"request_id": "x" * 129}, "request_id has more than 128 characters"),
        ({"occurred_at": "2024-05-01T12:00:00"}, "occurred_at"),
        ({"occurred_at": (NOW + timedelta(seconds=INTAKE_AHEAD_S + 1)).isoformat()}, "in the future"),
        ({"occurred_at": "9999-12-31T23:59:59.999999Z"}, "in the future"),
        ({"occurred_at": "9999-12-31T23:59:59.999999-05:00"}, "in the future"),
        ({"occurred_at": "0001-01-01T00:00:00Z"}, "is before 2020-01-01"),
        ({"occurred_at": "0001-01-01T00:00:00+05:00"}, "is before 2020-01-01"),
        ({"occurred_at": "2019-12-31T23:59:59Z"}, "is before 2020-01-01"),
        ({"position": -1}, "position"),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
def test_a_broken_rule_is_named(reason, change, named):
    assert named in reason(GOOD | change)


def test_what_intake_accepts_is_in_time_for_a_broker_whose_clock_is_a_minute_behind(take):
    ahead = NOW + timedelta(seconds=INTAKE_AHEAD_S)
    assert take(GOOD | {"occurred_at": ahead.isoformat()}).accepted
    assert ahead <= NOW - timedelta(minutes=1) + timedelta(seconds=AHEAD_S)


def test_an_oversized_event_is_refused_with_its_size_and_the_limit_and_its_letter_is_cut(take):
    examined = take(GOOD, GOOD | {"request_id": "x" * MOST_BYTES})
    assert examined.indexes == [0]
    refused = examined.rejected[0]
    assert refused.reason.endswith("bytes; the limit is 1,000,000")
    letter = dead_letter(refused, 5)
    assert (len(letter["sent"]), letter["sent_characters"] > MOST_BYTES) == (LETTER_CHARACTERS, True)
    assert "sent_characters" not in dead_letter(take({"post_id": 3}).rejected[0], 5)


def test_a_name_of_a_million_characters_does_not_come_back_in_the_reason(reason):
    assert len(reason(GOOD | {"x" * 900_000: 1, "y" * 90_000: 2})) < 300


@pytest.mark.parametrize("item", [None, 3, "click", [], [GOOD]], ids=repr)
def test_what_is_no_event_is_refused(reason, item):
    assert reason(item).startswith("event")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
FIELDS = st.dictionaries(st.sampled_from([*EVENTS.names, "other"]), JSON, max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(JSON, FIELDS, FIELDS.map(lambda fields: GOOD | fields)), max_size=6))
def test_every_event_is_accepted_or_rejected_once_and_what_is_accepted_holds_to_the_contract(platform, sent):
    examined = examine(sent, platform, now=NOW)
    assert sorted([*examined.indexes, *(one.index for one in examined.rejected)]) == list(range(len(sent)))
    assert len(examined.indexes) == len(examined.accepted)
    assert all(rejected.reason and rejected.sent is sent[rejected.index] for rejected in examined.rejected)
    if examined.accepted:
        schema = {**pl.from_arrow(EVENTS.empty_table()).schema, "occurred_at": pl.Int64}
        rows = pl.DataFrame(examined.accepted, schema=schema)
        check_table("events", rows.with_columns(pl.from_epoch("occurred_at", "us").dt.replace_time_zone("UTC")))
