"""Laws of the contracts: no event is lost, none that holds to the rules is refused, a checked table stays as it is."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.contracts import EVENTS, TABLES, Action, ContractError, check_table, split_events
from feature_repo.lake import Lake

SCHEMA = pl.from_arrow(EVENTS.empty_table()).schema
moments = st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


def names(most: int) -> st.SearchStrategy[str]:
    """Text that says something."""
    return st.text(max_size=most).filter(says_something)


def says_something(text: str) -> bool:
    """As polars strips. All that it takes for white is white to Python too, which is much the faster to ask for most texts."""
    return text.strip() != "" or pl.Series([text]).str.strip_chars()[0] != ""


good_rows = st.fixed_dictionaries(
    {
        "event_id": names(8),
        "user_id": st.integers(0, 2**63 - 1),
        "post_id": st.integers(0, 2**63 - 1),
        "author_id": st.integers(-(2**63), 2**63 - 1),
        "action": st.sampled_from([action.value for action in Action]),
        "value": st.none() | st.floats(0, 1e9),
        "product": names(6),
        "position": st.none() | st.integers(0, 2**31 - 1),
        "release": st.none() | st.text(max_size=6),
        "propensity": st.none() | st.floats(0, 1, exclude_min=True),
        "request_id": st.none() | names(6),
        "occurred_at": moments,
    }
).map(lambda row: row | {"value": 0.0} if row["action"] == "dwell" and row["value"] is None else row)

# One broken cell each, with a word of the reason that it must be given.
FAULTS = [
    ("event_id", "", "event_id"),
    ("event_id", None, "event_id"),
    ("event_id", " \u2003", "event_id is empty"),
    ("event_id", "e" * 257, "event_id has more than 256 characters"),
    ("user_id", None, "user_id"),
    ("user_id", -1, "user_id"),
    ("post_id", -7, "post_id"),
    ("author_id", None, "author_id"),
    ("action", "poke", "action"),
    ("action", None, "action"),
    ("product", None, "product"),
    ("product", "", "product is empty"),
    ("product", "\t", "product is empty"),
    ("product", "p" * 65, "product has more than 64 characters"),
    ("request_id", " ", "request_id is empty"),
    ("request_id", "r" * 129, "request_id has more than 128 characters"),
    ("value", -5.0, "value is negative"),
    ("value", 1e300, "value 1e+300 is above"),
    ("value", sys.float_info.max, "value 1.7976931348623157e+308 is above"),
    ("occurred_at", datetime(1, 1, 1, tzinfo=UTC), "occurred_at is before 1970-01-01"),
    ("occurred_at", datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), "occurred_at is before 1970-01-01"),
    ("value", math.nan, "value"),
    ("value", -math.inf, "value"),
    ("propensity", 0.0, "propensity"),
    ("propensity", 1.5, "propensity"),
    ("propensity", math.nan, "propensity"),
    ("occurred_at", None, "occurred_at"),
]


def table(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


@settings(deadline=None)
@given(st.lists(good_rows, max_size=20))
def test_no_event_that_holds_to_the_rules_is_refused(rows: list[dict]) -> None:
    split = split_events(table(rows))
    assert split.good.equals(table(rows))
    assert split.dead.is_empty()


@settings(deadline=None)
@given(st.lists(st.tuples(good_rows, st.none() | st.sampled_from(FAULTS)), max_size=20))
def test_every_event_ends_in_exactly_one_part_and_a_dead_one_says_why(drawn: list[tuple]) -> None:
    rows, reasons = [], []
    for number, (row, fault) in enumerate(drawn):
        marked = {**row, "position": number}  # no rule reads it, so it tells the rows apart
        rows.append(marked if fault is None else {**marked, fault[0]: fault[1]})
        reasons.append(None if fault is None else fault[2])
    split = split_events(table(rows))
    assert sorted(split.good["position"].to_list() + split.dead["position"].to_list()) == list(range(len(rows)))
    assert split.good["position"].to_list() == [number for number, reason in enumerate(reasons) if reason is None]
    for position, reason in split.dead.select("position", "reason").rows():
        assert reason.startswith(reasons[position])


def test_limits_count_characters_and_not_bytes() -> None:
    row = {"user_id": 1, "post_id": 1, "author_id": 1, "action": "click", "occurred_at": datetime(2022, 5, 1, tzinfo=UTC)}
    longest = row | {"event_id": "é" * 256, "product": "大" * 64, "request_id": "ß" * 128}
    assert split_events(table([longest])).dead.is_empty()


def test_a_dwell_without_its_milliseconds_is_refused() -> None:
    row = {"event_id": "e", "user_id": 1, "post_id": 1, "author_id": 1, "action": "dwell", "product": "p"}
    row["occurred_at"] = datetime(2022, 5, 1, tzinfo=UTC)
    split = split_events(table([row, {**row, "value": 0.0}]))
    assert split.dead["reason"].to_list() == ["value is null: a dwell gives its milliseconds"]
    assert split.good["value"].to_list() == [0.0]


@pytest.mark.parametrize(
    ("action", "most", "reason"),
    [
        ("dwell", 2_592_000_000, "is above 2,592,000,000, the most milliseconds (30 days) that a dwell may last"),
        ("video_view", 2_592_000_000, "is above 2,592,000,000, the most milliseconds (30 days) that a video_view may last"),
        ("click", 1e9, "is above 1,000,000,000, the most that the value of an event may be"),
    ],
)
def test_a_value_beyond_its_bound_is_refused_with_both(action: str, most: float, reason: str) -> None:
    row = {"event_id": "e", "user_id": 1, "post_id": 1, "author_id": 1, "action": action, "product": "p"}
    row["occurred_at"] = datetime(2022, 5, 1, tzinfo=UTC)
    split = split_events(table([row | {"value": float(most)}, row | {"value": most + 1.0}]))
    assert split.good["value"].to_list() == [most]
    assert split.dead["reason"][0] == f"value {most + 1:.1f} {reason}"


@settings(deadline=None)
@given(st.lists(good_rows, max_size=20))
def test_a_checked_table_has_the_contracts_schema_and_checking_it_again_changes_nothing(rows: list[dict]) -> None:
    once = check_table("events", table(rows))
    assert once.schema.equals(EVENTS)
    assert check_table("events", pl.from_arrow(once)).equals(once)
    assert pl.from_arrow(once).equals(table(rows))


@settings(deadline=None)
@given(st.lists(good_rows, max_size=12), st.integers(-12, 14))
def test_the_lake_gives_back_every_event_whatever_its_midnight(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict], hours: int
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"), timedelta(hours=hours))
    written = lake.write_events(table(rows), "part")
    order = ["occurred_at", "position", "event_id", "user_id", "post_id", "author_id", "action", "product"]
    assert sum(written.values()) == len(rows)
    assert lake.events().sort(order).equals(table(rows).sort(order))
    assert lake.event_days() == sorted(written)


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_table_holds_to_its_contract(name: str) -> None:
    assert check_table(name, TABLES[name].empty_table()).num_rows == 0


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_column_is_named(name: str) -> None:
    for column in TABLES[name].names:
        with pytest.raises(ContractError, match=f"{name}: column '{column}' is missing"):
            check_table(name, TABLES[name].empty_table().drop_columns(column))


@pytest.mark.parametrize("field", [field for field in EVENTS if not field.nullable], ids=lambda field: field.name)
def test_a_null_in_a_required_column_is_named_with_its_row(field: pa.Field) -> None:
    row = {
        "event_id": "e",
        "user_id": 1,
        "post_id": 1,
        "author_id": 1,
        "action": "click",
        "product": "p",
        "occurred_at": datetime(2022, 5, 1, tzinfo=UTC),
    }
    with pytest.raises(ContractError, match=f"events.{field.name}: null at row 1"):
        check_table("events", table([row, {**row, field.name: None}, row]))


def test_a_value_that_would_lose_something_is_refused_by_column() -> None:
    edge = {"user_id": 1.5, "target_id": 2, "kind": "follow", "weight": 1.0, "derived": True}
    with pytest.raises(ContractError, match="edges.user_id: double does not fit int64"):
        check_table("edges", pl.DataFrame([{**edge, "created_at": datetime(2022, 5, 1, tzinfo=UTC)}]))
