"""An evaluation for people: a model's tables by head, of the differences and of the lists; a policy's table of estimates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from flows.evaluation.figures import NDCG

COLUMNS = ("auc", "log_loss", "normalised_entropy", "ece", "ece_floor", NDCG)


def evaluation_tables(report: dict[str, Any]) -> Iterator[Table]:
    """The report of `evaluate_exposures` as tables."""
    title = (
        f"{report['exposures']}: {report['rows']:,} exposures of {report['users']:,} users, "
        f"{report['first']} to {report['last']}, {report['state']} state"
    )
    heads = Table("head", "model", *COLUMNS, title=title, title_justify="left")
    for head in report["judged_heads"]:
        for name, found in report["models"].items():
            heads.add_row(
                head, name, *(_cell(found[head][column]) for column in COLUMNS), end_section=name == list(report["models"])[-1]
            )
    yield heads
    if report["differences"]:
        title = f"{report['model']['name']} minus baseline, 95 % interval over resampled users"
        differences = Table("head", "baseline", "auc", "log_loss", NDCG, title=title, title_justify="left")
        for head in report["judged_heads"]:
            for name, found in report["differences"].items():
                differences.add_row(head, name, *(_difference(found[head][key]) for key in ("auc", "log_loss", NDCG)))
        yield differences
    lists = Table("model", "coverage", "novelty (bits)", "author Gini", title="top 10 of every user-day", title_justify="left")
    for name, found in report["lists"].items():
        lists.add_row(name, *(f"{found[key]:.3f}" for key in ("coverage", "novelty_bits", "author_gini")))
    yield lists


def policy_tables(report: dict[str, Any]) -> Iterator[Table]:
    """The report of `evaluate_policy` as tables: what the policies are worth, and what that rests on."""
    title = (
        f"{report['exposures']}: {report['decisions']:,} decisions of {report['users']:,} users, "
        f"{report['first']} to {report['last']}, by {report['score']} among {report['pool']['mean_open']:,.0f} posts"
    )
    worth = Table("policy", "temperature", "estimate", f"mean {report['reward']}", title=title, title_justify="left")
    worth.add_row("logging", "", "as logged", _cell(report["logging"]), end_section=True)
    rests = Table("temperature", "effective decisions", "mean weight", "clipped")
    for found in report["policies"]:
        temperature = f"{found['temperature']:g}"
        for name, form in (("ips", "IPS"), ("snips", "SNIPS"), ("dr", "DR")):
            worth.add_row(report["model"]["name"], temperature, form, _cell(found[name]))
        worth.add_row(
            report["model"]["name"], temperature, "DR minus logging", _signed(found["gain"], "value"), end_section=True
        )
        effective = f"{found['effective_decisions']:,.1f} of {report['decisions']:,}"
        rests.add_row(temperature, effective, f"{found['mean_weight']:.3f}", f"{found['clipped_share']:.1%}")
    yield worth
    yield rests


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict) and value["value"] is None:
        return "-"
    if isinstance(value, dict):
        return f"{value['value']:.4f} \\[{_ends(value)}]"
    return f"{value:.4f}"


def _difference(value: dict[str, float] | None) -> str:
    return "-" if value is None else _signed(value, "difference")


def _signed(value: dict[str, float], key: str) -> str:
    return f"{value[key]:+.4f} \\[{_ends(value, '+.4f')}]"


def _ends(value: dict[str, Any], form: str = ".4f") -> str:
    return ", ".join("-" if value[end] is None else format(value[end], form) for end in ("low", "high"))
