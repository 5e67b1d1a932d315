"""Validating a batch of contract tables: Great Expectations decides and documents, bad rows are parted from good ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from feature_repo.plausible_times import EARLIEST, latest_plausible
from monitoring.expectations.bounds import Bounds
from monitoring.expectations.gx_checkpoint import RuleOutcome, run_checkpoint
from monitoring.expectations.quarantine import broken_rows, part_rows
from monitoring.expectations.report import Named, TableReport, ValidationReport, as_they_are, table_report
from monitoring.expectations.rule import Severity
from monitoring.expectations.suites import suite, traits_of, with_references

DEFAULT_BOUNDS = Bounds()


class CountMismatch(RuntimeError):
    """Great Expectations and the quarantine disagree about one rule: one declaration was read in two ways."""


def validate_tables(
    tables: Mapping[str, pl.DataFrame],
    docs_folder: Path | None,
    *,
    label: str = "",
    latest: datetime | None = None,
    earliest: datetime = EARLIEST,
    bounds: Bounds = DEFAULT_BOUNDS,
    named: Named = as_they_are,
) -> ValidationReport:
    """Run the suites on `tables` (contract tables by name; any subset) and part the rows that break a hard rule.

    The page goes to `docs_folder/index.html` (readable without a network), GX's own site beside it. `label` names the data
    on the page (such as "world (simulated)"). `latest`: later times are implausible; default is now plus the clock skew;
    `earliest`: earlier ones are. `bounds`: how many rows may break which rule. `named`: gives rows that are shown the ids
    that their owner knows.
    """
    latest = latest or latest_plausible()
    given = set(tables) | traits_of(tables)
    every = {name: bounds.applied(name, list(suite(name, latest, earliest))) for name in tables}
    prepared = {name: with_references(name, table, tables) for name, table in tables.items()}
    suites = {name: [rule for rule in rules if rule.needs <= given] for name, rules in every.items()}
    site = None if docs_folder is None else docs_folder / "great_expectations"
    outcomes = run_checkpoint(prepared, suites, site)
    reports, splits = {}, {}
    for name, table in tables.items():
        hard = [rule for rule in suites[name] if rule.severity is Severity.HARD]
        broken = broken_rows(prepared[name], suites[name])
        splits[name] = part_rows(table, broken, hard)
        skipped = [rule.name for rule in every[name] if not rule.needs <= given]
        reports[name] = table_report(name, broken, splits[name], outcomes[name], skipped, bounds)
        _counts_agree(reports[name], outcomes[name])
    page = None if docs_folder is None else docs_folder / "index.html"
    report = ValidationReport(tables=reports, splits=splits, docs=page, named=named)
    if docs_folder is not None:
        from monitoring.expectations.data_docs import write_data_docs

        write_data_docs(report, docs_folder, label=label, at=datetime.now(UTC))
    return report


def _counts_agree(report: TableReport, outcomes: list[RuleOutcome]) -> None:
    for outcome in outcomes:
        # Of a rule about uniqueness GX counts every copy, and the quarantine keeps the first.
        counted = report.broken_rows.get(outcome.rule.name)
        if counted is None or outcome.unexpected is None or outcome.rule.of_all_rows:
            continue
        if counted != outcome.unexpected:
            raise CountMismatch(
                f"{report.name}.{outcome.rule.name}: Great Expectations counts {outcome.unexpected} rows, "
                f"the quarantine {counted}; the rule's `broken` expression and its expectation differ"
            )
