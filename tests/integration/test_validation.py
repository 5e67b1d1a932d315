"""Great Expectations runs the suites for real, agrees with the quarantine, and leaves pages that need no network."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import polars as pl
import pytest

from monitoring.expectations.rule import Severity, between
from monitoring.expectations.suites import SUITE_NAMES, suite
from monitoring.expectations.validation import CountMismatch, validate_tables
from tests.contract_rows import broken, contract_rows

pytestmark = pytest.mark.slow
LATEST = datetime(2024, 6, 1, tzinfo=UTC)

# Row 3, an impression, gets an unknown action, so its dwell and click stand without an exposure (soft); row 7 repeats an id.
BROKEN_EVENTS = {"action_in_closed_set": 1, "event_id_unique": 1, "engagement_has_impression": 2}


def test_valid_tables_pass_every_rule_of_every_suite():
    report = validate_tables(contract_rows(), None, latest=LATEST)
    assert report.passed
    for name in SUITE_NAMES:
        table = report.tables[name]
        assert len(table.outcomes) == len(suite(name, LATEST))
        assert [outcome.rule.name for outcome in table.outcomes if not outcome.success] == []


@pytest.fixture(scope="module")
def bad_batch(tmp_path_factory):
    tables = contract_rows()
    tables["events"] = broken(broken(tables["events"], "action", "superlike", 3), "event_id", "0-impression", 7)
    tables["posts"] = broken(broken(tables["posts"], "media", "<script>x</script>", 1), "duration_ms", -5, 2)
    tables["users"] = tables["users"].with_columns(pl.lit([-124, 0, 1], pl.List(pl.Int32)).alias("attributes"))
    folder = tmp_path_factory.mktemp("docs")
    return validate_tables(tables, folder, label="test rows", latest=LATEST), folder


def test_broken_rows_are_counted_by_rule_and_parted(bad_batch):
    report, _ = bad_batch
    events = report.tables["events"]
    assert {rule: rows for rule, rows in events.broken_rows.items() if rows} == BROKEN_EVENTS
    assert events.quarantined == 2
    assert events.passed  # 2 of 701 rows
    assert sorted(report.splits["events"].quarantined["rule"]) == ["action_in_closed_set", "event_id_unique"]


def test_a_table_fails_above_one_percent_and_says_what_to_do(bad_batch):
    report, _ = bad_batch
    assert report.tables["posts"].quarantined_share == pytest.approx(1 / 60)
    assert not report.passed
    (sentence,) = report.failures
    assert "posts: 1 of 60 rows" in sentence
    assert "'duration_ms_in_range'" in sentence


def test_a_source_sentinel_warns_and_quarantines_nobody(bad_batch):
    report, _ = bad_batch
    assert report.tables["users"].warnings == ("attribute_codes_known",)
    assert report.tables["users"].quarantined == 0


def test_pages_load_nothing_from_another_host_and_escape_values(bad_batch):
    report, folder = bad_batch
    pages = list(folder.rglob("*.html"))
    assert report.docs in pages
    assert len(pages) >= 2 * len(SUITE_NAMES) + 2  # ours, GX's index, and per table a suite and a validation page
    remote = re.compile(
        r"(?:<(?:script|img|iframe)[^>]+src|<link[^>]+href)\s*=\s*[\"']?(?:https?:)?//|url\([\"']?(?:https?:)?//"
    )
    assert [page.name for page in pages if remote.search(page.read_text())] == []
    own = report.docs.read_text()
    assert "<script" not in own
    for name in SUITE_NAMES:
        (link,) = re.findall(rf'href="(great_expectations/validations/{name}/[^"]+)"', own)
        assert (folder / link).exists()


def test_results_are_kept_as_json(bad_batch):
    report, folder = bad_batch
    kept = json.loads((folder / "results.json").read_text())
    assert kept["label"] == "test rows"
    assert kept["passed"] is False
    assert kept["tables"]["events"]["broken_rows"] == BROKEN_EVENTS


def test_reference_rules_are_reported_as_skipped_without_their_table():
    report = validate_tables({"events": contract_rows()["events"]}, None, latest=LATEST)
    assert set(report.tables["events"].skipped) == {"post_is_known", "author_agrees_with_post", "user_is_known"}


def test_a_rule_read_in_two_ways_is_an_error(monkeypatch):
    rule = between("user_id", 0, None, "ids are not negative")
    crooked = type(rule)(rule.name, rule.why, Severity.HARD, rule.expectation, rule.arguments, broken=pl.col("user_id") > 30)
    monkeypatch.setattr("monitoring.expectations.validation.suite", lambda name, latest, earliest: (crooked,))
    with pytest.raises(CountMismatch, match="users.user_id_in_range: Great Expectations counts 0 rows, the quarantine 9"):
        validate_tables({"users": contract_rows()["users"]}, None, latest=LATEST)


@pytest.mark.parametrize(("kept", "warned"), [(1, False), (12, True)])
def test_a_share_is_judged_by_its_bounds_and_shown(kept, warned):
    """Of the share of impressions: few are left where one in `kept` stays."""
    tables = contract_rows()
    shown = pl.col("action").cast(pl.String) == "impression"
    events = tables["events"].filter(~shown | (pl.int_range(pl.len()).over(shown) % kept == 0))
    report = validate_tables({**tables, "events": events}, None, latest=LATEST)
    (found,) = [one for one in report.tables["events"].outcomes if one.rule.name == "impression_share"]
    share = events.select(shown.mean()).item()
    assert (share < 0.1) == warned
    assert found.success != warned
    assert found.observed == pytest.approx(share)
