"""One rule of a table, declared once: the Great Expectations expectation and the row mask for quarantine come from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import polars as pl


class Severity(StrEnum):
    """What a broken rule costs."""

    HARD = "hard"  # the row is set aside; too many such rows fail the batch
    SOFT = "soft"  # the rows stay; the report says so


@dataclass(frozen=True)
class Rule:
    """A rule by name.

    `broken` is a boolean expression over the table's rows (null counts as not broken); None for a rule about the whole table.
    `holds` is set where Great Expectations has no expectation for the condition: the condition is then computed as a boolean
    column named like the rule, and the expectation asks that column to be true.
    `mostly` is the share of rows that must hold (soft rules only; a hard rule tolerates no row).
    `needs` names the tables that a reference check looks into, and the traits of the data that it presupposes (see
    `suites.traits_of`); without them the rule is skipped and reported as skipped.
    """

    name: str
    why: str
    severity: Severity
    expectation: str
    arguments: Mapping[str, Any]
    broken: pl.Expr | None = None
    holds: pl.Expr | None = None
    mostly: float = 1.0
    needs: frozenset[str] = field(default_factory=frozenset)

    @property
    def of_all_rows(self) -> bool:
        """Whether a row breaks it by what other rows hold."""
        return self.expectation in ("ExpectColumnValuesToBeUnique", "ExpectCompoundColumnsToBeUnique")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the frame that the expectation reads."""
        if self.holds is not None:
            return (self.name,)
        if "column_list" in self.arguments:
            return tuple(self.arguments["column_list"])
        return (self.arguments["column"],) if "column" in self.arguments else ()


def not_null(column: str, why: str, severity: Severity = Severity.HARD) -> Rule:
    """`column` carries a value in every row."""
    return Rule(
        f"{column}_given", why, severity, "ExpectColumnValuesToNotBeNull", {"column": column}, broken=pl.col(column).is_null()
    )


def between(
    column: str,
    low: Any,
    high: Any,
    why: str,
    severity: Severity = Severity.HARD,
    *,
    name: str | None = None,
    mostly: float = 1.0,
) -> Rule:
    """Values of `column` lie in [low, high]; a null abstains, a bound of None is open."""
    value = pl.col(column)
    below = pl.lit(False) if low is None else value < low
    above = pl.lit(False) if high is None else value > high
    arguments = {"column": column, "min_value": low, "max_value": high}
    return Rule(
        name or f"{column}_in_range",
        why,
        severity,
        "ExpectColumnValuesToBeBetween",
        {key: bound for key, bound in arguments.items() if bound is not None},
        broken=below | above,
        mostly=mostly,
    )


def one_of(column: str, values: Sequence[str], why: str) -> Rule:
    """Values of `column` belong to a closed set."""
    arguments = {"column": column, "value_set": list(values)}
    broken = ~pl.col(column).cast(pl.String).is_in(list(values))
    return Rule(f"{column}_in_closed_set", why, Severity.HARD, "ExpectColumnValuesToBeInSet", arguments, broken=broken)


def unique(columns: Sequence[str], why: str) -> Rule:
    """No two rows agree on `columns`. The first of them is kept, so one delivery too many loses nothing."""
    if len(columns) == 1:
        expectation, arguments = "ExpectColumnValuesToBeUnique", {"column": columns[0]}
        given = pl.col(columns[0]).is_not_null()
    else:
        expectation, arguments = "ExpectCompoundColumnsToBeUnique", {"column_list": list(columns)}
        given = pl.all_horizontal(pl.col(column).is_not_null() for column in columns)
    broken = (
        given & ~pl.struct(columns).is_first_distinct() if len(columns) > 1 else given & ~pl.col(columns[0]).is_first_distinct()
    )
    return Rule(f"{'_'.join(columns)}_unique", why, Severity.HARD, expectation, arguments, broken=broken)


def holds(
    name: str,
    condition: pl.Expr,
    why: str,
    severity: Severity = Severity.HARD,
    *,
    mostly: float = 1.0,
    needs: Sequence[str] = (),
) -> Rule:
    """`condition` is true in every row; a null condition abstains."""
    condition = condition.fill_null(True)
    return Rule(
        name,
        why,
        severity,
        "ExpectColumnValuesToBeInSet",
        {"column": name, "value_set": [True]},
        broken=~condition,
        holds=condition,
        mostly=mostly,
        needs=frozenset(needs),
    )


def share_between(name: str, condition: pl.Expr, low: float, high: float, why: str, *, needs: Sequence[str] = ()) -> Rule:
    """The share of rows where `condition` is true lies in [low, high]; always soft, since no single row is at fault."""
    # The share is computed here and stands in the first row, where it is the minimum too: Great Expectations takes a mean of
    # millions of rows with a look at each in Python.
    share = pl.when(pl.int_range(pl.len()) == 0).then(condition.cast(pl.Float64).mean())
    return Rule(
        name,
        why,
        Severity.SOFT,
        "ExpectColumnMinToBeBetween",
        {"column": name, "min_value": low, "max_value": high},
        holds=share,
        needs=frozenset(needs),
    )


def row_count_at_least(rows: int, why: str) -> Rule:
    """The table holds at least `rows` rows; soft: an empty table has no row to set aside."""
    return Rule("has_rows", why, Severity.SOFT, "ExpectTableRowCountToBeBetween", {"min_value": rows})
