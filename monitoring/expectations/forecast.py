"""What a validation would set aside of rows that come batch by batch, before any of them is in a lake.

By the hard rules about one row alone: what needs all rows at once, such as uniqueness, is left to the validation itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from feature_repo.plausible_times import latest_plausible
from monitoring.expectations.bounds import Bounds
from monitoring.expectations.quarantine import broken_rows, part_rows
from monitoring.expectations.report import Named, as_they_are, examples, exceeded, remedy, too_often
from monitoring.expectations.rule import Rule, Severity
from monitoring.expectations.suites import suite, traits_of


@dataclass
class _Counted:
    rows: int = 0
    by_rule: dict[str, int] = field(default_factory=dict)  # the first hard rule that each row broke
    examples: dict[str, list[str]] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)


class Forecast:
    """Counts rows of contract tables that break a hard rule; `told` says which, `stops` where they are too many."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._latest = latest_plausible()
        self._counted: dict[str, _Counted] = {}

    def add(self, table: str, rows: pl.DataFrame, earliest: datetime, named: Named = as_they_are) -> None:
        """Count `rows` of contract table `table`; times before `earliest` are implausible.

        named: gives rows that are shown the ids that their owner knows.
        """
        counted = self._counted.setdefault(table, _Counted())
        counted.rows += rows.height
        if rows.is_empty():
            return
        traits = traits_of({table: rows})
        rules = {rule.name: rule for rule in suite(table, self._latest, earliest) if _of_one_row(rule) and rule.needs <= traits}
        hard = list(rules.values())
        broken = part_rows(rows, broken_rows(rows, hard), hard).quarantined
        for name, number in broken.group_by("rule").len().sort("rule").iter_rows():
            counted.by_rule[name] = counted.by_rule.get(name, 0) + number
            counted.rules[name] = rules[name]
            counted.examples.setdefault(name, examples(table, rules[name], broken, named))

    @property
    def told(self) -> list[str]:
        """One sentence for each rule that some rows break, with the first of them."""
        return [
            f"{table}: {number:,} of {counted.rows:,} rows ({number / counted.rows:.2%}) break the rule {name!r}, such as "
            f"{counted.examples[name][0]}"
            for table, counted in self._counted.items()
            for name, number in counted.by_rule.items()
        ]

    @property
    def stops(self) -> list[str]:
        """One sentence for each table in which too many rows break a rule, so that validation fails; none where it passes."""
        found = []
        for table, counted in self._counted.items():
            over = exceeded(counted.by_rule, counted.rows, self._bounds.overall, self._bounds.of_table(table))
            if over:
                broken, rows = counted.by_rule, counted.rows
                told = [too_often(counted.rules[name], broken[name], rows, bound) for name, bound in over.items()]
                found.append(" ".join([f"{table}:", *told, remedy(table, {name: broken[name] / rows for name in over})]))
        return found


def _of_one_row(rule: Rule) -> bool:
    return rule.severity is Severity.HARD and rule.broken is not None and not rule.of_all_rows
