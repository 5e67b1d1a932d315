"""One Great Expectations checkpoint over prepared tables, in an ephemeral context (import it lazily: ten seconds)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from monitoring.expectations.rule import Rule, Severity

# Examples of unexpected values kept per rule, on the page and in the results.
EXAMPLES = 5

# String keys with more distinct values than this go to GX as hashes.
CATEGORIES = 1_000


@dataclass(frozen=True)
class RuleOutcome:
    """What Great Expectations found for one rule. `unexpected` is None where the expectation is about the whole table."""

    rule: Rule
    success: bool
    unexpected: int | None
    observed: Any
    examples: tuple[str, ...]


class ExpectationError(RuntimeError):
    """An expectation could not be evaluated: a fault of the suite or the table, not of a row."""


def run_checkpoint(
    prepared: Mapping[str, pl.DataFrame], suites: Mapping[str, Sequence[Rule]], site: Path | None
) -> dict[str, list[RuleOutcome]]:
    """Evaluate `suites` on `prepared` tables of the same names; write GX's Data Docs under `site` unless it is None."""
    import great_expectations as gx
    import pandas as pd

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    for existing in context.get_site_names():
        context.delete_data_docs_site(existing)
    if site is not None:
        context.add_data_docs_site(site_name="home_mixer", site_config=_site_config(site))
    source = context.data_sources.add_pandas("contract_tables")
    outcomes = {}
    for name, table in prepared.items():
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
        expectations = context.suites.add(gx.ExpectationSuite(name=name))
        for rule in suites[name]:
            expectations.add_expectation(_expectation(gx, rule))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=expectations))
        checkpoint = gx.Checkpoint(
            name=name,
            validation_definitions=[definition],
            actions=[],
            result_format={"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES},
        )
        # Each expectation takes the rows that hold a value, of a whole frame all of them: pandas need not copy those.
        with pd.option_context("mode.copy_on_write", True):
            result = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": as_pandas(table, suites[name])})
        outcomes[name] = _outcomes(name, suites[name], result)
    if site is not None:
        context.build_data_docs(site_names=["home_mixer"])
    return outcomes


def as_pandas(table: pl.DataFrame, rules: Sequence[Rule]) -> Any:
    """The columns that `rules` read as a pandas frame, in the cheapest form that keeps each rule's answer.

    Conditions are computed here. Strings cost a second per million rows and step, so repeated ones become categories, and
    those that only a uniqueness rule reads become 64-bit hashes (two of 10 million ids collide with probability 3e-6).
    """
    conditions = {rule.name: rule.holds for rule in rules if rule.holds is not None}
    plain = sorted({column for rule in rules if rule.holds is None for column in rule.columns})
    keys = {column for rule in rules if rule.of_all_rows for column in rule.columns}
    frame = table.select(
        *(_cheapest(table[name], key=name in keys) for name in plain),
        *(condition.alias(name) for name, condition in conditions.items()),
    )
    return frame.to_pandas()


def _cheapest(column: pl.Series, *, key: bool) -> pl.Series:
    if column.dtype != pl.String:
        return column
    if key and (column.head(2 * CATEGORIES).n_unique() > CATEGORIES or column.n_unique() > CATEGORIES):
        return column.hash()
    return column.cast(pl.Enum(column.drop_nulls().unique().sort()))


def _expectation(gx: Any, rule: Rule) -> Any:
    arguments = dict(rule.arguments)
    if rule.broken is not None and rule.mostly < 1.0:
        arguments["mostly"] = rule.mostly
    severity = "critical" if rule.severity is Severity.HARD else "warning"
    meta = {"rule": rule.name, "why": rule.why, "severity": rule.severity.value}
    notes = f"**{rule.name}** ({rule.severity.value}): {rule.why}"
    return getattr(gx.expectations, rule.expectation)(**arguments, severity=severity, meta=meta, notes=notes)


def _outcomes(name: str, rules: Sequence[Rule], result: Any) -> list[RuleOutcome]:
    by_rule = {rule.name: rule for rule in rules}
    (validation,) = result.run_results.values()
    found = {}
    for entry in validation.results:
        rule = by_rule[entry.expectation_config.meta["rule"]]
        if entry.exception_info.get("raised_exception", False):
            raise ExpectationError(
                f"{name}: rule {rule.name!r} could not be evaluated: {entry.exception_info['exception_message']}"
            )
        details = entry.result
        found[rule.name] = RuleOutcome(
            rule=rule,
            success=bool(entry.success),
            unexpected=details.get("unexpected_count"),
            observed=details.get("observed_value"),
            examples=tuple(str(value) for value in details.get("partial_unexpected_list") or ())[:EXAMPLES],
        )
    return [found[rule.name] for rule in rules]


def _site_config(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
