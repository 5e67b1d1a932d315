"""`mixer release judge`: the judge's words on rollouts past and present, in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from monitoring.canary.verdict import MetricResult
from services.releases.retrospect import JudgedAgain

_COLOURS = {"promote": "green", "rollback": "red", "inconclusive": "yellow"}


def show_verdict(judged: JudgedAgain, out: Console) -> None:
    """One rollout: what became of it, the judge's word and reasons, and every metric."""
    verdict = judged.verdict
    out.print(f"[bold]{escape(judged.release_id)}[/]: {_became(judged)}", highlight=False)
    if judged.ended is not None:
        out.print(f"  by {escape(judged.ended.actor)}: {escape(judged.ended.reason)}", highlight=False)
    out.print(f"the judge's last look then: {judged.said or 'none'}", highlight=False)
    users = f"after {_users(judged, 'treatment')} users of the canary and {_users(judged, 'control')} of the live release"
    out.print(f"the judge now: {_decision(verdict.decision)} {users}", highlight=False)
    for reason in verdict.reasons:
        out.print(f"  - {escape(reason)}", highlight=False)
    table = Table("metric", "role", "live", "canary", "difference", "interval", "limit", "")
    for one in verdict.metrics:
        interval = f"{_number(one.low)} to {_number(one.high)}"
        values = (_number(one.control), _number(one.treatment), _number(one.difference), interval, _number(one.limit))
        table.add_row(escape(one.label), _role(one), *values, one.decision.replace("_", " "))
    out.print(table)


def show_verdicts(judged: Sequence[JudgedAgain], out: Console) -> None:
    """Every rollout in one line: what became of it, and what the judge says of it now."""
    if not judged:
        out.print("no release was ever a canary")
        return
    table = Table("release", "state", "by", "the judge then", "the judge now", "users", "why")
    for one in judged:
        by = "" if one.ended is None else escape(one.ended.actor)
        users = f"{_users(one, 'treatment')} / {_users(one, 'control')}"
        why = escape(one.verdict.reasons[0]) if one.verdict.reasons else ""
        table.add_row(one.release_id, _became(one), by, one.said or "", _decision(one.verdict.decision), users, why)
    out.print(table)
    differ = [one.release_id for one in judged if one.said is not None and one.said != one.verdict.decision]
    if differ:
        out.print(f"otherwise than then: {', '.join(differ)}", highlight=False)


def _became(judged: JudgedAgain) -> str:
    return "under way" if judged.ended is None else str(judged.ended.state).replace("_", " ")


def _users(judged: JudgedAgain, arm: str) -> str:
    return f"{judged.verdict.samples.get(f'{arm}_users') or 0:,}"


def _decision(decision: str) -> str:
    return f"[{_COLOURS[decision]}]{decision}[/]"


def _role(metric: MetricResult) -> str:
    return f"{metric.role} (dry run)" if metric.dry_run else metric.role


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"
