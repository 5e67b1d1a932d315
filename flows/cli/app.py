"""`mixer`: the one command line. Each command's heavy imports happen inside it, so that help is instant."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.cli.dataset import data
from flows.cli.evaluate import evaluate
from flows.cli.experiment import experiment
from flows.cli.features import features as feature_catalogue
from flows.cli.release import release
from flows.cli.run import run
from flows.cli.traffic import traffic
from flows.cli.users import users
from infra.full_disk import DiskFull
from infra.interrupts import leave
from infra.native_teardown import mute_native_teardown
from infra.settings import Settings, apply_environment, get_settings, without_password

if TYPE_CHECKING:
    from flows.steps.platform import Platform

app = typer.Typer(
    name="mixer",
    help="Home Mixer: a feed-ranking platform. Start with `mixer demo`.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)
app.add_typer(data, name="data")
app.add_typer(run, name="run")
app.add_typer(release, name="release")
app.add_typer(users, name="users")
app.add_typer(experiment, name="experiment")
app.add_typer(traffic, name="traffic")
app.add_typer(feature_catalogue, name="features")
app.command()(evaluate)

out = Console()
err = Console(stderr=True)


def main() -> None:
    """Entry point: expected errors end with one clear line and exit code 1, unexpected ones with their traceback."""
    mute_native_teardown()
    try:
        app()
    except (RuntimeError, ValueError, FileNotFoundError, DiskFull) as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)


# ---- the main job ---------------------------------------------------------------------------------------------------
@app.command()
def demo(
    fresh: Annotated[bool, typer.Option(help="Begin a new run even where an unfinished one could be carried on.")] = False,
    down: Annotated[bool, typer.Option(help="Stop the platform at the end instead of leaving its pages open.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Small, and only to the first timeline: about three minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Learn from all of the data, however long it takes.")] = False,
    until: Annotated[
        str | None, typer.Option(help="End after this stage, such as `release` or `drift`; a later call goes on from there.")
    ] = None,
) -> None:
    """The whole loop on real feed logs: ingest, train, release, replay, drift, retrain, canary, rollback.

    Trainings learn from as many users as there is time for; the exit code is 1 where a stage failed.
    """
    if quick and full:
        raise ValueError("--quick and --full exclude each other: give one of them")
    apply_environment()
    from flows.demo.job import run_demo

    plan = "quick" if quick else "full" if full else None
    leave(run_demo(get_settings(), plan=plan, until=until, fresh=fresh, down=down))


@app.command()
def start(
    full: Annotated[bool, typer.Option("--full", help="Learn from all of the data, however long it takes.")] = False,
) -> None:
    """From your data to a live platform: everything up, the dataset ingested, a first release live.

    A start that was broken off goes on. The dataset is what MIXER_DATASET and MIXER_DATA say; with nothing said, KuaiRand where
    it is found, else the simulated world.
    """
    settings = apply_environment()
    from flows.cli.first_release import make_first_release
    from flows.steps.platform import Platform, one_change_at_a_time

    platform = Platform(settings)
    with one_change_at_a_time(settings, _say):
        mended = _bring_up(platform)
    made = make_first_release(platform, out, full=full)
    _say_what_runs(platform, mended, platform.bring_back_releases() if not made else [])
    out.print("The platform goes on from here by itself: schedules are active (`mixer deploy` lists them).")


@app.command()
def up() -> None:
    """Start the platform as local processes, mend what an earlier run left, and bring the live release back."""
    settings = apply_environment()
    from flows.steps.platform import Platform, one_change_at_a_time

    platform = Platform(settings)
    with one_change_at_a_time(settings, _say):
        mended = _bring_up(platform)
        with out.status("releases"):
            arms = platform.bring_back_releases()
    _say_what_runs(platform, mended, arms)
    if not arms:
        out.print("no release yet: `mixer start` takes your data to a live one")


def _say(text: str) -> None:
    out.print(text, highlight=False)


def _bring_up(platform: Platform) -> list[str]:
    """Start everything but the mixers; returns what was found dead."""
    with out.status("starting") as status:
        mended = platform.mend()
        platform.start_foundations()
        platform.await_foundations(paused_schedules=False, tell=status.update)
        platform.seed_where_needed(status.update)
        status.update("stream worker, controller and gateway")
        platform.start_serving()
        status.update("pages")
        platform.start_pages()
    return mended


def _say_what_runs(platform: Platform, mended: list[str], arms: list[dict[str, str]]) -> None:
    for wrong in mended:
        out.print(f"found: {wrong}", highlight=False)
    for arm in arms:
        out.print(f"release {arm['release']} is {arm['state']}: {arm['arm']}", highlight=False)
    _print_pages(platform.pages())


@app.command()
def down() -> None:
    """Stop the platform's processes; all state stays."""
    from flows.steps.platform import Platform, one_change_at_a_time

    settings = get_settings()
    with one_change_at_a_time(settings, _say):
        stopped = Platform(settings).stop()
    out.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running", highlight=False)


@app.command()
def status() -> None:
    """What runs, starts or is dead, how often it was started again and how much memory it takes; then the releases."""
    from flows.cli.platform_status import said_below, status_table
    from flows.steps.platform import Platform

    platform = Platform(get_settings())
    memory = platform.supervisor.memory_mb()
    out.print(status_table(platform, memory))
    for line in said_below(platform):
        out.print(line, highlight=False, markup=False)
    if memory:
        _print_pages(platform.pages())


@app.command()
def deploy(paused: Annotated[bool, typer.Option(help="Register with all schedules paused.")] = False) -> None:
    """Register every flow with its schedule and automations on the Prefect server."""
    settings = apply_environment()
    from flows.deployments import DEPLOYMENTS, register

    register(settings, paused=paused)
    table = Table("deployment", "cron (UTC)", "schedule", "starts on event", "what it does")
    for one in DEPLOYMENTS:
        active = "paused" if paused or not one.active else "active"
        table.add_row(one.name, one.cron, active, one.on_event or "", one.description)
    out.print(table)


@app.command(name="settings")
def show_settings() -> None:
    """Every setting, its value now, and what it does."""
    settings = get_settings()
    table = Table("variable", "value", "meaning")
    for name, field in Settings.model_fields.items():
        table.add_row(f"MIXER_{name.upper()}", without_password(str(getattr(settings, name))), field.description)
    out.print(table)


def _print_pages(pages: dict[str, str]) -> None:
    for name, address in pages.items():
        out.print(f"  {name:<34} {address}", highlight=False)
