"""Parting the rows that break a hard rule from the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from feature_repo.plausible_times import latest_plausible
from monitoring.expectations.rule import Rule, Severity
from monitoring.expectations.suites import suite, with_references


@dataclass(frozen=True)
class QuarantineSplit:
    """`clean` keeps the table's columns and order; `quarantined` has the same and `rule`, the first hard rule it broke."""

    clean: pl.DataFrame
    quarantined: pl.DataFrame


def split_quarantine(
    name: str, table: pl.DataFrame, references: Mapping[str, pl.DataFrame] | None = None, *, latest: datetime | None = None
) -> QuarantineSplit:
    """Part `table` (a contract table by `name`) by its hard rules; together the two parts are the table, no row twice.

    `references` are the other tables by name; `latest` is the moment after which a time is implausible (default: now).
    """
    latest = latest or latest_plausible()
    prepared = with_references(name, table, references or {})
    hard = [rule for rule in suite(name, latest) if rule.severity is Severity.HARD]
    return part_rows(table, prepared, hard)


def part_rows(table: pl.DataFrame, prepared: pl.DataFrame, hard: list[Rule]) -> QuarantineSplit:
    """Part `table` by `hard` rules read from `prepared`, which has the same rows and the reference columns."""
    reason = pl.coalesce([pl.when(rule.broken).then(pl.lit(rule.name)) for rule in hard if rule.broken is not None])
    rule = prepared.select(reason.alias("rule"))["rule"]
    broken = rule.is_not_null()
    if not broken.any():
        return QuarantineSplit(table, table.clear().with_columns(pl.lit(None, pl.String).alias("rule")))
    return QuarantineSplit(table.filter(~broken), table.with_columns(rule).filter(broken))
