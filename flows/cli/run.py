"""`mixer run`: one flow here and now. Each command's heavy imports happen inside it, so that help is instant."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated

import typer
from rich.console import Console

from flows.cli.run_summary import print_summary
from infra.settings import apply_environment

run = typer.Typer(help="Run one flow here and now, against the running Prefect server.", no_args_is_help=True)

out = Console()

AsJson = Annotated[bool, typer.Option("--json", help="Print all that the flow returned, as JSON.")]


def _finish(flow: str, as_json: bool, result: object) -> None:
    if as_json:
        typer.echo(json.dumps(result, indent=2, default=str))
    else:
        print_summary(flow, result, out)


@run.command()
def ingest(
    may_drop: Annotated[
        bool, typer.Option("--may-drop", help="Drop ingested days that the files no longer hold, instead of refusing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the dataset into the contract tables."""
    apply_environment()
    from flows.ingest import ingest_flow

    _finish("ingest", as_json, ingest_flow(may_drop=may_drop or None))


@run.command()
def validate(as_json: AsJson = False) -> None:
    """Check the tables with Great Expectations; quarantine broken rows."""
    apply_environment()
    from flows.validate import validate_flow

    _finish("validate", as_json, validate_flow())


@run.command()
def features(
    until: Annotated[str | None, typer.Option(help="Local day, as 2022-05-01; default: the last training day.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild, materialise and publish all features."""
    apply_environment()
    from flows.features import features_flow

    _finish("features", as_json, features_flow(None if until is None else date.fromisoformat(until)))


@run.command()
def stream(as_json: AsJson = False) -> None:
    """Seed the stream worker's state from the lake, as `features` does; live events go on from there."""
    apply_environment()
    from flows.stream import stream_flow

    _finish("stream", as_json, stream_flow())


@run.command()
def train(as_json: AsJson = False) -> None:
    """Train the rankers, compare them with the baselines, register the champion."""
    apply_environment()
    from flows.train import train_flow

    _finish("train", as_json, train_flow())


@run.command()
def retrain(
    reason: Annotated[str, typer.Option(help="Why; it stands in the model's tags.")] = "asked for by hand",
    as_json: AsJson = False,
) -> None:
    """Train a challenger on the days lived through so far."""
    apply_environment()
    from flows.retrain import retrain_flow

    _finish("retrain", as_json, retrain_flow(reason))


@run.command()
def sweep(
    rate: Annotated[
        list[float] | None, typer.Option(help="A learning rate; repeat it for each. Default: four of them.")
    ] = None,
    judging_days: Annotated[int, typer.Option(min=1, help="Newest training days, which judge and teach nothing.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Fit the heavy ranker at several learning rates, each an MLflow run; names the best, registers nothing."""
    apply_environment()
    from flows.sweep import sweep_flow

    _finish("sweep", as_json, sweep_flow(rate or None, judging_days))


@run.command("release")
def run_release(
    model: Annotated[str, typer.Argument(help="Alias or version in the model registry.")] = "challenger",
    note: Annotated[str, typer.Option(help="A line for the ledger's readers.")] = "",
    asked_by: Annotated[
        str,
        typer.Option("--as", help="Your name; not needed with MIXER_TOKEN. With MIXER_FOUR_EYES somebody else has to approve."),
    ] = "",
    ramp: Annotated[
        str | None, typer.Option(help="Per cent of users at each canary step, rising, with commas; default: 1,5,25,50.")
    ] = None,
    step_timeout_s: Annotated[float, typer.Option(min=1, help="Seconds after which a step without a verdict is given up.")] = (
        24 * 3600.0
    ),
    min_users: Annotated[
        int | None, typer.Option(min=2, help="Users of each arm before a step up; default: the judge's policy.")
    ] = None,
    warm_up_s: Annotated[
        float | None, typer.Option(min=0, help="First seconds of a step without a step up; default: the judge's policy.")
    ] = None,
    look_every_s: Annotated[float, typer.Option(min=1, help="Seconds between two looks of the judge.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Build, start and submit a registered model; `mixer release watch` follows it from there."""
    plan = {
        "ramp": None if ramp is None else ramp_of(ramp),
        "step_timeout_s": step_timeout_s,
        "min_users": min_users,
        "warm_up_s": warm_up_s,
        "look_every_s": look_every_s,
    }
    settings = apply_environment()
    from flows.steps.release_asker import release_asker

    asked_by = release_asker(settings, asked_by, model)  # before the flow's imports: a refusal comes at once
    from flows.release import release_here

    _finish("release", as_json, release_here(model=model, note=note, asked_by=asked_by, **plan))


def ramp_of(text: str) -> list[float]:
    """The percentages that `text` names, such as 1,5,25,50. Raises ValueError for a ramp that no release can take."""
    from services.releases.plan import LARGEST_STEP, RolloutPlan

    try:
        return list(RolloutPlan(ramp=[float(part) for part in text.split(",")]).ramp)
    except ValueError:
        raise ValueError(
            f"--ramp {text}: give rising percentages above 0 and up to {LARGEST_STEP:g}, with commas between them, "
            "such as 1,5,25,50"
        ) from None


@run.command()
def drift(as_json: AsJson = False) -> None:
    """Compare recent days with the training days and decide."""
    apply_environment()
    from flows.drift import drift_flow

    _finish("drift", as_json, drift_flow())


@run.command()
def consistency(as_json: AsJson = False) -> None:
    """Recompute a sample of what was served from the lake; fails where a family differs beyond the bound."""
    apply_environment()
    from flows.consistency import consistency_flow

    _finish("consistency", as_json, consistency_flow())


@run.command("feature-quality")
def feature_quality(as_json: AsJson = False) -> None:
    """Null share, range, drift and importance of the catalogue's features, on one page."""
    apply_environment()
    from flows.feature_quality import feature_quality_flow

    _finish("feature-quality", as_json, feature_quality_flow())


@run.command()
def reconcile(as_json: AsJson = False) -> None:
    """Bring processes and routes back to what the ledger says."""
    apply_environment()
    from flows.reconcile import reconcile_flow

    _finish("reconcile", as_json, reconcile_flow())


@run.command()
def replay(
    name: str = "replay",
    share: Annotated[float | None, typer.Option(help="Share of users, 0 to 1.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send logged days through the gateway as live traffic."""
    apply_environment()
    from flows.replay import replay_flow

    _finish("replay", as_json, replay_flow(name=name, share=share))
