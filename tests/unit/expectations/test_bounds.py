"""The owner sets the bounds: a failure says which rule, how many rows, some of them, and what to do."""

from __future__ import annotations

import polars as pl
import pytest

from monitoring.expectations.bounds import Bounds, UnknownRule, bounded_rules
from monitoring.expectations.gx_checkpoint import RuleOutcome
from monitoring.expectations.quarantine import broken_rows, part_rows
from monitoring.expectations.report import Named, ValidationReport, as_they_are, table_report
from monitoring.expectations.rule import Severity
from monitoring.expectations.suites import suite, traits_of, with_references
from tests.contract_rows import contract_rows
from tests.unit.expectations.test_quarantine import LATEST


def report_of(events: pl.DataFrame, bounds: Bounds, named: Named = as_they_are) -> ValidationReport:
    """The events' report, as validation makes it, without Great Expectations."""
    rules = bounds.applied("events", list(suite("events", LATEST)))
    prepared = with_references("events", events, {})
    broken = broken_rows(prepared, rules)
    split = part_rows(events, broken, [rule for rule in rules if rule.severity is Severity.HARD])
    outcomes = [RuleOutcome(rule, True, None, None, ()) for rule in rules]
    reports = {"events": table_report("events", broken, split, outcomes, [], bounds)}
    return ValidationReport(reports, {"events": split}, None, named)


def with_broken(values: int, positions: int) -> pl.DataFrame:
    """701 events, of which the first `values` have a value below 0 and the next `positions` a position below 0."""
    row = pl.int_range(pl.len())
    return contract_rows()["events"].with_columns(
        value=pl.when(row < values).then(-5.0).otherwise(pl.col("value")),
        position=pl.when((row >= values) & (row < values + positions)).then(-1).otherwise(pl.col("position")).cast(pl.Int32),
    )


def test_a_failure_names_rule_rows_examples_and_the_remedy() -> None:
    report = report_of(with_broken(12, 0), Bounds())
    (failure,) = report.failures
    lines = failure.splitlines()
    assert lines[0] == "events: 12 of 701 rows (1.71%) break a hard rule; nothing was moved or removed."
    assert lines[1] == "'value_in_range' is broken by 12 rows (1.71%; bound 1.00%): a measured time is not negative."
    assert lines[2:7] == [
        f"    event_id = {event_id}, user_id = {event_id[0]}, post_id = {event_id[0]}, value = -5.0"
        for event_id in ("0-impression", "0-dwell", "0-click", "1-impression", "1-dwell")
    ]
    assert lines[7].endswith("""allow as many: MIXER_QUARANTINE_BOUNDS='{"events.value_in_range": 0.02}'.""")


def test_the_rows_of_a_failure_have_the_ids_that_their_owner_knows() -> None:
    def named(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(event_id=pl.lit("their own ") + pl.col("event_id"))

    (failure,) = report_of(with_broken(12, 0), Bounds(), named).failures
    assert "event_id = their own 0-impression, user_id = 0, post_id = 0, value = -5.0" in failure


def test_the_bound_of_the_remedy_lets_these_rows_pass() -> None:
    assert not report_of(with_broken(12, 0), Bounds()).passed
    assert report_of(with_broken(12, 0), Bounds(by_rule={"events.value_in_range": 0.02})).passed
    assert not report_of(with_broken(15, 0), Bounds(by_rule={"events.value_in_range": 0.02})).passed


def test_the_overall_bound_holds_for_all_rules_without_one_of_their_own_together() -> None:
    assert report_of(with_broken(4, 3), Bounds()).passed
    (failure,) = report_of(with_broken(5, 4), Bounds()).failures
    assert "'value_in_range' is broken by 5 rows" in failure and "'position_in_range' is broken by 4 rows" in failure
    assert report_of(with_broken(5, 4), Bounds(overall=0.02)).passed
    assert report_of(with_broken(30, 4), Bounds(by_rule={"events.value_in_range": 0.1})).passed
    (failure,) = report_of(with_broken(30, 9), Bounds(by_rule={"events.value_in_range": 0.1})).failures
    assert "value_in_range" not in failure


def test_a_soft_rules_bound_is_where_the_report_warns() -> None:
    bounds = Bounds(by_rule={"events.post_is_known": 0.2})
    mostly = {rule.name: rule.mostly for rule in bounds.applied("events", list(suite("events", LATEST)))}
    assert mostly["post_is_known"] == pytest.approx(0.8)
    assert mostly["user_is_known"] == 0.9


@pytest.mark.parametrize("name", ["events.post_is_knwon", "post_is_known", "likes.post_is_known", "events.impression_share"])
def test_a_bound_of_a_rule_that_does_not_exist_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(UnknownRule, match=f"names '{name}', which is no rule about rows; there are .*events.post_is_known"):
        Bounds(by_rule={name: 0.2})


def test_every_hard_rule_can_be_bounded() -> None:
    hard = {
        f"{table}.{rule.name}"
        for table in ("events", "posts", "users", "edges")
        for rule in suite(table, LATEST)
        if rule.severity is Severity.HARD
    }
    assert hard <= set(bounded_rules())


@pytest.mark.parametrize(
    ("kept", "traits"),
    [
        (pl.col("action") == "like", {"topics", "embeddings"}),
        (pl.col("action") != "impression", {"requests", "topics", "embeddings"}),
        (pl.lit(True), {"impressions", "requests", "topics", "embeddings"}),
    ],
    ids=["plays only, no requests", "no impressions", "everything"],
)
def test_rules_presuppose_only_what_the_log_has(kept: pl.Expr, traits: set[str]) -> None:
    tables = contract_rows()
    tables["events"] = tables["events"].filter(kept)
    assert traits_of(tables) == traits
    needed = {rule.name: rule.needs for rule in suite("events", LATEST)}
    assert needed["impression_share"] == {"impressions"}
    assert needed["engagement_has_impression"] == {"impressions", "requests"}
    assert needed["dated_event_has_request"] == {"requests"}


@pytest.mark.parametrize(
    ("codes", "broken"), [([], 0), ([-1], 1), ([-1, 3], 0), ([-1, -1, 3], 1)], ids=["none", "unknown", "half", "most"]
)
def test_users_without_attributes_lack_none(codes: list[int], broken: int) -> None:
    (rule,) = [rule for rule in suite("users", LATEST) if rule.name == "attributes_mostly_given"]
    users = pl.DataFrame({"attributes": [codes]}, schema={"attributes": pl.List(pl.Int32)})
    assert users.select(rule.broken.sum()).item() == broken


def test_no_rule_names_an_action_that_a_log_may_lack() -> None:
    names = {rule.name for table in ("events", "posts", "users", "edges") for rule in suite(table, LATEST)}
    assert not {name for name in names if "click" in name or "like" in name}
