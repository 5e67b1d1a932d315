"""A row that breaks a hard rule is set aside under that rule's name, and no other row is."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from monitoring.expectations.quarantine import split_quarantine
from monitoring.expectations.rule import Severity
from monitoring.expectations.suites import SUITE_NAMES, suite
from tests.contract_rows import broken, contract_rows

LATEST = datetime(2024, 6, 1, tzinfo=UTC)
TOO_EARLY, TOO_LATE = datetime(1970, 1, 20, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)

# rule of a table -> (column, value that breaks it, row); the events' rows 0, 1, 2 are an impression, a dwell, a click.
BREAKS = {
    ("events", "event_id_given"): ("event_id", "", 0),
    ("events", "event_id_unique"): ("event_id", "0-impression", 5),
    ("events", "user_id_given"): ("user_id", None, 0),
    ("events", "user_id_in_range"): ("user_id", -1, 0),
    ("events", "post_id_given"): ("post_id", None, 0),
    ("events", "post_id_in_range"): ("post_id", -7, 0),
    ("events", "author_id_given"): ("author_id", None, 0),
    ("events", "occurred_at_given"): ("occurred_at", None, 0),
    ("events", "occurred_at_in_range"): ("occurred_at", TOO_EARLY, 0),
    ("events", "action_in_closed_set"): ("action", "superlike", 0),
    ("events", "action_given"): ("action", None, 0),
    ("events", "product_given"): ("product", None, 0),
    ("events", "value_is_finite"): ("value", float("inf"), 1),
    ("events", "value_in_range"): ("value", -1.0, 1),
    ("events", "measured_action_has_value"): ("value", None, 1),
    ("events", "position_in_range"): ("position", -1, 0),
    ("events", "propensity_in_unit_interval"): ("propensity", 0.0, 0),
    ("events", "undated_history_has_position"): ("position", None, -1),
    ("posts", "post_id_given"): ("post_id", None, 0),
    ("posts", "post_id_in_range"): ("post_id", -1, 0),
    ("posts", "post_id_unique"): ("post_id", 0, 5),
    ("posts", "author_id_given"): ("author_id", None, 0),
    ("posts", "author_id_in_range"): ("author_id", -1, 0),
    ("posts", "created_at_given"): ("created_at", None, 0),
    ("posts", "created_at_in_range"): ("created_at", TOO_LATE, 0),
    ("posts", "topics_is_a_list"): ("topics", None, 0),
    ("posts", "topic_ids_not_negative"): ("topics", [3, -2], 0),
    ("posts", "media_not_empty"): ("media", "", 0),
    ("posts", "duration_ms_in_range"): ("duration_ms", -1, 0),
    ("posts", "not_its_own_reply"): ("in_reply_to", 0, 0),
    ("posts", "embedding_of_one_length"): ("embedding", [1.0, 2.0], 0),
    ("posts", "embedding_finite"): ("embedding", [1.0, None, 2.0], 0),
    ("users", "user_id_given"): ("user_id", None, 0),
    ("users", "user_id_in_range"): ("user_id", -1, 0),
    ("users", "user_id_unique"): ("user_id", 0, 5),
    ("users", "followers_in_range"): ("followers", -3, 0),
    ("users", "following_in_range"): ("following", -3, 0),
    ("users", "attributes_is_a_list"): ("attributes", None, 0),
    ("users", "attributes_have_one_width"): ("attributes", [1], 0),
    ("edges", "user_id_in_range"): ("user_id", -1, 0),
    ("edges", "target_id_in_range"): ("target_id", -1, 0),
    ("edges", "kind_given"): ("kind", None, 0),
    ("edges", "kind_in_closed_set"): ("kind", "adore", 0),
    ("edges", "user_id_target_id_kind_unique"): ("user_id", 0, 7),  # target 1000 again
    ("edges", "weight_is_finite"): ("weight", float("nan"), 0),
    ("edges", "weight_in_range"): ("weight", -1.0, 0),
    ("edges", "created_at_in_range"): ("created_at", TOO_LATE, 0),
    ("edges", "derived_given"): ("derived", None, 0),
}


@pytest.mark.parametrize(("name", "rule"), BREAKS)
def test_one_broken_row_is_set_aside_under_the_rule_it_breaks(name, rule):
    column, value, row = BREAKS[name, rule]
    tables = contract_rows()
    height = tables[name].height
    tables[name] = broken(tables[name], column, value, row % height)

    split = split_quarantine(name, tables[name], tables, latest=LATEST)

    assert split.quarantined["rule"].to_list() == [rule]
    assert split.quarantined.drop("rule").equals(tables[name][row % height : row % height + 1])
    assert split.clean.height == height - 1


def test_every_hard_rule_has_a_row_that_breaks_it_above():
    hard = {(name, rule.name) for name in SUITE_NAMES for rule in suite(name, LATEST) if rule.severity is Severity.HARD}
    assert hard == set(BREAKS)


def test_valid_tables_lose_no_row():
    tables = contract_rows()
    for name, table in tables.items():
        split = split_quarantine(name, table, tables, latest=LATEST)
        assert split.clean.equals(table)
        assert split.quarantined.is_empty()
        assert split.quarantined.columns == [*table.columns, "rule"]


def test_a_delivery_repeated_three_times_keeps_its_first_copy():
    events = contract_rows()["events"]
    repeated = pl.concat([events, events[:1], events[:1]])
    split = split_quarantine("events", repeated, latest=LATEST)
    assert split.clean.equals(events)
    assert split.quarantined["rule"].to_list() == ["event_id_unique"] * 2


def test_soft_rules_set_nothing_aside():
    tables = contract_rows()
    tables["events"] = broken(tables["events"], "post_id", 999_999)
    assert split_quarantine("events", tables["events"], tables, latest=LATEST).quarantined.is_empty()


def test_an_empty_table_splits_into_two_empty_tables():
    tables = {name: table.clear() for name, table in contract_rows().items()}
    for name, table in tables.items():
        split = split_quarantine(name, table, tables, latest=LATEST)
        assert split.clean.is_empty()
        assert split.quarantined.is_empty()


def test_an_unknown_table_is_refused_by_name():
    with pytest.raises(KeyError, match="no suite for table 'likes'"):
        split_quarantine("likes", pl.DataFrame())
