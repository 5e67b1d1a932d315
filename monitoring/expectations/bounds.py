"""The owner's bounds: which share of rows may break a rule before validation fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from feature_repo.plausible_times import EARLIEST, latest_plausible
from infra.settings import Settings
from monitoring.expectations.rule import Rule, Severity
from monitoring.expectations.suites import SUITE_NAMES, suite

# A batch with a larger share of quarantined rows in any table fails: so many bad rows are a broken feed, not bad rows.
QUARANTINE_BOUND = 0.01


class UnknownRule(ValueError):
    """A bound names a rule that no table has, or one that is not about rows."""


@dataclass(frozen=True)
class Bounds:
    """`overall` holds for all hard rules of a table together, except those that `by_rule` ("table.rule") gives their own.

    Of a soft rule a bound is the share of rows at which the report warns.
    """

    overall: float = QUARANTINE_BOUND
    by_rule: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = bounded_rules() if self.by_rule else []
        for name in self.by_rule:
            if name not in known:
                table = name.split(".")[0]
                choice = [rule for rule in known if rule.startswith(f"{table}.")] or known
                raise UnknownRule(
                    f"MIXER_QUARANTINE_BOUNDS names {name!r}, which is no rule about rows; there are {', '.join(choice)}"
                )

    @staticmethod
    def of(settings: Settings) -> Bounds:
        """The owner's; raises UnknownRule."""
        return Bounds(settings.quarantine_bound, settings.quarantine_bounds)

    def of_table(self, table: str) -> dict[str, float]:
        """Own bounds by rule of `table`."""
        return {name.removeprefix(f"{table}."): bound for name, bound in self.by_rule.items() if name.startswith(f"{table}.")}

    def applied(self, table: str, rules: list[Rule]) -> list[Rule]:
        """`rules` of `table`; soft ones with their own bound tolerate that share."""
        own = self.of_table(table)
        return [
            replace(rule, mostly=1.0 - own[rule.name]) if rule.name in own and rule.severity is Severity.SOFT else rule
            for rule in rules
        ]


def bounded_rules() -> list[str]:
    """Every "table.rule" that a bound can be set for."""
    latest = latest_plausible()
    return [
        f"{table}.{rule.name}" for table in SUITE_NAMES for rule in suite(table, latest, EARLIEST) if rule.broken is not None
    ]
