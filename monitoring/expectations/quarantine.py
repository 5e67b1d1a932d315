"""Parting the rows that break a hard rule from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    return part_rows(table, broken_rows(prepared, hard), hard)


def part_rows(table: pl.DataFrame, broken: pl.DataFrame, hard: Sequence[Rule]) -> QuarantineSplit:
    """Part `table` by `hard` rules; `broken` (see `broken_rows`) has the same rows. A row goes to the first rule it broke."""
    names = [rule.name for rule in hard if rule.name in broken.columns]
    if not names or not broken.select(pl.any_horizontal(names).any()).item():
        return QuarantineSplit(table, table.clear().with_columns(pl.lit(None, pl.String).alias("rule")))
    rule = broken.select(pl.coalesce([pl.when(name).then(pl.lit(name)) for name in names]).alias("rule"))["rule"]
    bad = rule.is_not_null()
    return QuarantineSplit(table.filter(~bad), table.with_columns(rule).filter(bad))


def broken_rows(prepared: pl.DataFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """A boolean column for each of the `rules` about rows: which rows of `prepared`, with its reference columns, break it."""
    return prepared.select(rule.broken.fill_null(False).alias(rule.name) for rule in rules if rule.broken is not None)
