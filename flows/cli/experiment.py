"""`mixer experiment`: A/B tests of how pages are made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.settings import get_settings

if TYPE_CHECKING:
    from services.experiments.store import Experiments

experiment = typer.Typer(help="A/B tests: try other settings on some users, and see what they do.", no_args_is_help=True)
out = Console()

Actor = Annotated[str, typer.Option("--as", help="Your name; it is kept.")]
Why = Annotated[str, typer.Option("--reason", help="One sentence, which is kept.")]


def _experiments() -> Experiments:
    from services.experiments.store import Experiments  # with SQLAlchemy: help needs none of it

    return Experiments(get_settings().platform_database_url)


@experiment.command()
def start(
    name: Annotated[str, typer.Argument(help="Of the experiment; used once.")],
    turn: Annotated[list[str], typer.Option(help='What the treatment turns, as knob=value; see "mixer experiment knobs".')],
    actor: Actor,
    reason: Why,
    share: Annotated[float, typer.Option(help="Of all users, 0..1; half of them get the treatment.")] = 0.2,
    layer: Annotated[str, typer.Option(help="No user is in two experiments of one layer.")] = "ranking",
) -> None:
    """Begin an experiment; the door follows within a second."""
    from services.experiments.store import ExperimentError
    from services.mixer.knobs import KnobError

    try:
        one = _experiments().start(name, layer, share, _turned(turn), actor=actor, why=reason)
    except (ExperimentError, KnobError) as error:
        raise typer.BadParameter(str(error)) from error
    out.print(f"{one.name} runs on {one.share:.1%} of the users, in layer {one.layer}", highlight=False)


@experiment.command()
def stop(name: str, actor: Actor, reason: Why) -> None:
    """End an experiment: everybody gets the usual settings again, and its outcomes stay."""
    from services.experiments.store import ExperimentError

    try:
        _experiments().stop(name, actor=actor, why=reason)
    except ExperimentError as error:
        raise typer.BadParameter(str(error)) from error
    out.print(f"{name} is stopped; `mixer experiment show {name}` tells what came of it", highlight=False)


@experiment.command("list")
def list_all() -> None:
    """Every experiment, the newest first."""
    table = Table("experiment", "layer", "users", "treatment", "since", "until", "why")
    for one in _experiments().all():
        until = one.stopped_at[:16] if one.stopped_at else "runs"
        turned = ", ".join(f"{knob}={value}" for knob, value in one.knobs.items())
        table.add_row(one.name, one.layer, f"{one.share:.1%}", escape(turned), one.started_at[:16], until, escape(one.why))
    out.print(table)


@experiment.command()
def show(name: str, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """What the users of both arms did, with intervals that hold however often one looks."""
    from monitoring.canary.amounts import seen, signed
    from services.experiments.results import results_of
    from services.experiments.store import ExperimentError

    try:
        one = _experiments().of(name)
    except ExperimentError as error:
        raise typer.BadParameter(str(error)) from error
    verdict = results_of(one, get_settings())
    if as_json:
        typer.echo(json.dumps({"experiment": one.__dict__, "results": verdict.to_dict()}, indent=1))
        return
    samples = verdict.samples
    out.print(
        f"{one.name}: {samples['control_users']:,} users as usual, {samples['treatment_users']:,} with "
        + ", ".join(f"{knob}={value}" for knob, value in one.knobs.items()),
        highlight=False,
    )
    table = Table("metric", "usual", "treatment", "difference", "interval", "sees")
    for metric in verdict.metrics:
        if metric.decision == "no_data" or metric.missing:
            table.add_row(metric.label, *["–"] * 4, metric.missing or "no data yet")
            continue
        interval = f"{signed(metric, metric.low)} to {signed(metric, metric.high)}"
        values = f"{metric.control:.4g}", f"{metric.treatment:.4g}", signed(metric, metric.difference)
        table.add_row(metric.label, *values, interval, seen(metric))
    out.print(table)


@experiment.command()
def knobs() -> None:
    """What an experiment may turn, with the usual value."""
    from services.mixer.knobs import Knobs

    table = Table("knob", "usual", "what it does")
    for name, field in Knobs.model_fields.items():
        table.add_row(name, str(field.default), field.description)
    out.print(table)


def _turned(pairs: list[str]) -> dict[str, Any]:
    """knob=value pairs; a value is JSON where it can be, else text."""
    turned: dict[str, Any] = {}
    for pair in pairs:
        knob, is_one, text = pair.partition("=")
        if not is_one:
            raise typer.BadParameter(f"{pair!r}: give knob=value, as author_decay=0.7")
        try:
            turned[knob.strip()] = json.loads(text)
        except json.JSONDecodeError:
            turned[knob.strip()] = text.strip()
    return turned
