"""`mixer evaluate`: what was measured at training, a model on later exposures, or its policy on a randomised log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.settings import Settings, apply_environment, get_settings

out = Console()
err = Console(stderr=True)


def evaluate(
    exposures: Annotated[
        Path | None, typer.Option(help="Logged exposures to score: KuaiRand's columns, or the contract's events.")
    ] = None,
    state: Annotated[
        str, typer.Option(help="live: features as of each row; frozen: as of the user's first row of the day.")
    ] = "live",
    model: Annotated[str, typer.Option(help="Alias or version in the model registry.")] = "champion",
    bundle: Annotated[Path | None, typer.Option(help="Folder of a model bundle, instead of a registered model.")] = None,
    baselines: Annotated[bool, typer.Option(help="Fit and score the baselines too.")] = True,
    draws: Annotated[int, typer.Option(min=2, help="Resamplings of the users, for the intervals.")] = 200,
    policy: Annotated[bool, typer.Option("--policy", help="Judge the choices of the model by the log's propensities.")] = False,
    reward: Annotated[str | None, typer.Option(help="Policy: the action that pays 1; the commonest by default.")] = None,
    score: Annotated[str | None, typer.Option(help="Policy: action or weight preset that it ranks by; the reward's.")] = None,
    temperature: Annotated[
        list[float] | None, typer.Option(help="Policy: it draws by softmax(score / temperature), 0 = the best; repeatable.")
    ] = None,
    clip: Annotated[float | None, typer.Option(help="Policy: cut importance weights above this.")] = None,
    pool: Annotated[
        Path | None, typer.Option(help="Policy: what it could choose from: Parquet of post_id, since, until; else all posts.")
    ] = None,
    decisions: Annotated[int | None, typer.Option(help="Policy: judge a sample of so many logged decisions.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Score a model and its baselines on logged exposures, or (--policy) estimate what its choices would have earned there.

    Without a file: what was measured when the champion was trained.
    """
    given = {"reward": reward, "score": score, "temperatures": temperature, "clip": clip, "pool_file": pool}
    given = {name: value for name, value in {**given, "decisions": decisions}.items() if value not in (None, [])}
    chosen = {"model": model, "bundle_folder": bundle, "draws": draws}
    _refuse_mixed(exposures, policy, state, given)
    if exposures is None:
        _print_trained(as_json)
    elif policy:
        _judge_policy(exposures, chosen | given, as_json)
    else:
        _judge_model(exposures, {**chosen, "state": state, "with_baselines": baselines}, as_json)


def _refuse_mixed(exposures: Path | None, policy: bool, state: str, given: dict[str, Any]) -> None:
    """ValueError for an option that would be ignored."""
    if policy and exposures is None:
        raise ValueError("--policy needs logged decisions: name their file with --exposures")
    if policy and state != "live":
        raise ValueError(f"--state {state} does not go with --policy: features are as of each decision")
    if given and not policy:
        raise ValueError(f"{', '.join(sorted(given))}: only --policy has such options")


def _print_trained(as_json: bool) -> None:
    from flows.training.report import latest_report, report_page

    report = latest_report(get_settings())
    typer.echo(json.dumps(report, indent=2) if as_json else report_page(report))


def _judge_model(file: Path, asked: dict[str, Any], as_json: bool) -> None:
    from flows.evaluation.exposures import evaluate_exposures
    from flows.evaluation.tables import evaluation_tables

    _report(lambda settings: evaluate_exposures(settings, file, **asked), evaluation_tables, as_json)


def _judge_policy(file: Path, asked: dict[str, Any], as_json: bool) -> None:
    from flows.evaluation.policy import evaluate_policy
    from flows.evaluation.tables import policy_tables

    _report(lambda settings: evaluate_policy(settings, file, **asked), policy_tables, as_json)


def _report(
    work: Callable[[Settings], dict[str, Any]], tables: Callable[[dict[str, Any]], Iterator[Table]], as_json: bool
) -> None:
    """Run `work` with its progress shown, then print its warnings, and its tables or JSON."""
    from flows.steps.progress import listening
    from infra.settings import quiet_libraries

    quiet_libraries()
    settings = apply_environment()
    with err.status("reading") as shown, listening(shown.update):
        report = work(settings)
    for warning in report["warnings"]:
        err.print(f"[yellow]warning:[/] {warning}", highlight=False)
    for found in report.get("policies", ()):
        for warning in found["warnings"]:
            err.print(f"[yellow]warning:[/] temperature {found['temperature']:g}: {warning}", highlight=False)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    for table in tables(report):
        out.print(table, highlight=False)
