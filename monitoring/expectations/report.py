"""What a validation found, as values: per table and rule, and the verdict on the batch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from feature_repo.lake import KEYS
from monitoring.expectations.bounds import Bounds
from monitoring.expectations.gx_checkpoint import RuleOutcome
from monitoring.expectations.quarantine import QuarantineSplit
from monitoring.expectations.rule import Rule, Severity

EXAMPLE_ROWS = 5  # of the rows that break a rule, in a failure's sentence


Named = Callable[[pl.DataFrame], pl.DataFrame]


def as_they_are(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the platform's own ids."""
    return rows


@dataclass(frozen=True)
class TableReport:
    """One table. `broken_rows` counts per rule (hard and soft) the rows that break it; a quarantined row may break several."""

    name: str
    rows: int
    broken_rows: dict[str, int]
    quarantined: int
    max_quarantined_share: float
    outcomes: tuple[RuleOutcome, ...]
    skipped: tuple[str, ...]  # rules whose reference table was not given
    quarantined_by_rule: dict[str, int] = field(default_factory=dict)  # the first rule each quarantined row broke
    rule_bounds: dict[str, float] = field(default_factory=dict)  # of rules that the owner gave a bound of their own

    @property
    def quarantined_share(self) -> float:
        return self.quarantined / self.rows if self.rows else 0.0

    @property
    def exceeded(self) -> dict[str, float]:
        """Hard rules that too many rows break, the worst first, with the bound of each. Soft rules never fail a table."""
        return exceeded(self.quarantined_by_rule, self.rows, self.max_quarantined_share, self.rule_bounds)

    @property
    def passed(self) -> bool:
        """No hard rule is broken by more rows than its bound allows."""
        return not self.exceeded

    @property
    def warnings(self) -> tuple[str, ...]:
        """Names of the soft rules that did not hold."""
        return tuple(o.rule.name for o in self.outcomes if o.rule.severity is Severity.SOFT and not o.success)


@dataclass(frozen=True)
class ValidationReport:
    """The whole batch; `splits` holds each table's clean and quarantined rows.

    `named` gives rows that are shown the ids that their owner knows.
    """

    tables: dict[str, TableReport]
    splits: dict[str, QuarantineSplit]
    docs: Path | None  # the Data Docs page; None when no folder was given
    named: Named = as_they_are

    @property
    def passed(self) -> bool:
        return all(table.passed for table in self.tables.values())

    @property
    def failures(self) -> list[str]:
        """One paragraph per failed table: which rules, how many rows, some of them, and what to do."""
        return [_failure(table, self.splits[name], self.named) for name, table in self.tables.items() if not table.passed]

    def summary(self) -> dict[str, Any]:
        """Plain values for summary.json and flow artifacts."""
        return {
            "passed": self.passed,
            "docs": str(self.docs) if self.docs else None,
            "tables": {
                name: {
                    "rows": table.rows,
                    "quarantined": table.quarantined,
                    "quarantined_share": table.quarantined_share,
                    "broken_rows": {rule: rows for rule, rows in table.broken_rows.items() if rows},
                    "warnings": list(table.warnings),
                    "skipped": list(table.skipped),
                    "rules": len(table.outcomes),
                    "passed": table.passed,
                }
                for name, table in self.tables.items()
            },
        }


def exceeded(by_rule: Mapping[str, int], rows: int, overall: float, own: Mapping[str, float]) -> dict[str, float]:
    """The rules that more of the `rows` break than their bound allows, the worst first, with the bound of each.

    A rule with a bound of its `own` is held against that; the others are held together against the `overall` one.
    """
    shares = {rule: broken / rows for rule, broken in by_rule.items()}
    together = sum(share for rule, share in shares.items() if rule not in own)
    bounds = {rule: own.get(rule, overall) for rule in shares}
    over = {rule: bounds[rule] for rule, share in shares.items() if (share if rule in own else together) > bounds[rule]}
    return dict(sorted(over.items(), key=lambda item: -shares[item[0]]))


def table_report(
    name: str,
    broken: pl.DataFrame,
    split: QuarantineSplit,
    outcomes: Sequence[RuleOutcome],
    skipped: Sequence[str],
    bounds: Bounds,
) -> TableReport:
    """Count the rows that break each rule; `broken` has a boolean column for each that is about rows (see `broken_rows`)."""
    counts = broken.sum().row(0, named=True) if broken.columns else {}
    by_rule = dict(split.quarantined.group_by("rule").len().sort("rule").iter_rows())
    return TableReport(
        name=name,
        rows=split.clean.height + split.quarantined.height,
        broken_rows=counts,
        quarantined=split.quarantined.height,
        max_quarantined_share=bounds.overall,
        outcomes=tuple(outcomes),
        skipped=tuple(skipped),
        quarantined_by_rule=by_rule,
        rule_bounds=bounds.of_table(name),
    )


def _failure(table: TableReport, split: QuarantineSplit, named: Named) -> str:
    why = {outcome.rule.name: outcome.rule for outcome in table.outcomes}
    lines = [
        f"{table.name}: {table.quarantined:,} of {table.rows:,} rows ({table.quarantined_share:.2%}) break a hard rule; "
        "nothing was moved or removed."
    ]
    for rule, bound in table.exceeded.items():
        rows = table.quarantined_by_rule[rule]
        lines.append(too_often(why[rule], rows, table.rows, bound))
        lines += [f"    {example}" for example in examples(table.name, why[rule], split.quarantined, named)]
    lines.append(remedy(table.name, {rule: table.quarantined_by_rule[rule] / table.rows for rule in table.exceeded}))
    return "\n".join(lines)


def examples(table: str, rule: Rule, quarantined: pl.DataFrame, named: Named) -> list[str]:
    """Some rows that broke `rule`: the table's key and the columns that the rule reads, as `named` gives them."""
    read = rule.broken.meta.root_names() if rule.broken is not None else []
    whose = ["user_id", "post_id"] if table == "events" else []  # an event's id may be one that we made
    columns = [name for name in dict.fromkeys([*KEYS[table], *whose, *read]) if name in quarantined.columns]
    rows = named(quarantined.filter(pl.col("rule") == rule.name).head(EXAMPLE_ROWS).select(columns))
    return [", ".join(f"{name} = {value}" for name, value in row.items()) for row in rows.iter_rows(named=True)]


def too_often(rule: Rule, broken: int, rows: int, bound: float) -> str:
    """The sentence on a `rule` that too many of the `rows` break."""
    return f"{rule.name!r} is broken by {broken:,} rows ({broken / rows:.2%}; bound {bound:.2%}): {rule.why}."


def remedy(table: str, shares: Mapping[str, float]) -> str:
    """What to do where such shares of `table` break a rule, by rule; a bound is rounded up to a whole percent."""
    needed = {f"{table}.{rule}": math.ceil(share * 100) / 100 for rule, share in shares.items()}
    return (
        "Mend the source and ingest it again; or, where these rows may be set aside, allow as many: "
        f"MIXER_QUARANTINE_BOUNDS='{json.dumps(needed)}'."
    )
