"""What a validation found, as values: per table and rule, and the verdict on the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from monitoring.expectations.gx_checkpoint import RuleOutcome
from monitoring.expectations.quarantine import QuarantineSplit
from monitoring.expectations.rule import Severity

# A batch with a larger share of quarantined rows in any table fails: so many bad rows are a broken feed, not bad rows.
MAX_QUARANTINED_SHARE = 0.01


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

    @property
    def quarantined_share(self) -> float:
        return self.quarantined / self.rows if self.rows else 0.0

    @property
    def passed(self) -> bool:
        """Not more than the tolerated share of rows is quarantined. Soft rules never fail a table."""
        return self.quarantined_share <= self.max_quarantined_share

    @property
    def warnings(self) -> tuple[str, ...]:
        """Names of the soft rules that did not hold."""
        return tuple(o.rule.name for o in self.outcomes if o.rule.severity is Severity.SOFT and not o.success)


@dataclass(frozen=True)
class ValidationReport:
    """The whole batch; `splits` holds each table's clean and quarantined rows."""

    tables: dict[str, TableReport]
    splits: dict[str, QuarantineSplit]
    docs: Path | None  # the Data Docs page; None when no folder was given

    @property
    def passed(self) -> bool:
        return all(table.passed for table in self.tables.values())

    @property
    def failures(self) -> list[str]:
        """One sentence per failed table: what, how much, and what to do."""
        return [
            f"{table.name}: {table.quarantined:,} of {table.rows:,} rows ({table.quarantined_share:.2%}) break a hard rule, "
            f"more than the tolerated {table.max_quarantined_share:.0%}; most often {_most_often(table)}. "
            "Look at the quarantined rows, mend the source, and run again."
            for table in self.tables.values()
            if not table.passed
        ]

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


def table_report(
    name: str,
    prepared: pl.DataFrame,
    split: QuarantineSplit,
    outcomes: Sequence[RuleOutcome],
    skipped: Sequence[str],
    max_share: float,
) -> TableReport:
    """Count the rows that break each rule of `outcomes` in `prepared`."""
    masks = [o.rule.broken.fill_null(False).sum().alias(o.rule.name) for o in outcomes if o.rule.broken is not None]
    counts = prepared.select(masks).row(0, named=True) if masks else {}
    by_rule = dict(split.quarantined.group_by("rule").len().sort("rule").iter_rows())
    return TableReport(
        name=name,
        rows=prepared.height,
        broken_rows=counts,
        quarantined=split.quarantined.height,
        max_quarantined_share=max_share,
        outcomes=tuple(outcomes),
        skipped=tuple(skipped),
        quarantined_by_rule=by_rule,
    )


def _most_often(table: TableReport) -> str:
    rule, rows = max(table.quarantined_by_rule.items(), key=lambda item: item[1])
    return f"{rule!r} ({rows:,} rows)"
