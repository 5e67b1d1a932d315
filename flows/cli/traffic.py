"""`mixer traffic`: simulated visitors for a platform that has none yet."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.settings import apply_environment

traffic = typer.Typer(help="Simulated visitors on the running platform.", no_args_is_help=True)

out = Console()
err = Console(stderr=True)

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@traffic.command()
def world(
    speed: Annotated[float, typer.Option(min=0.01, help="World time per real time.")] = 60.0,
    people: Annotated[
        str | None, typer.Option(help="How many of the world's people live here: a number, or a share such as 0.2 or 20%.")
    ] = None,
    lasts: Annotated[str | None, typer.Option("--for", help="Real time to live for, such as 90s, 10m or 2h.")] = None,
    until_stopped: Annotated[bool, typer.Option("--until-stopped", help="No end but Ctrl-C or SIGTERM: the default.")] = False,
    requests_per_s: Annotated[
        float | None, typer.Option(min=0.01, help="Most pages a second; people and world time wait for it.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of who lives here, when they come and what they open; default: MIXER_SEED.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Simulated: the world's people live on the platform, look at what is served, and answer by their known tastes.

    For a home whose dataset is `world`. A later call goes on where one ended or was killed.
    """
    if until_stopped and lasts is not None:
        raise ValueError("--for and --until-stopped exclude each other: give one of them")
    duration = None if lasts is None else duration_of(lasts)
    settings = apply_environment()
    from flows.demo.traffic.world_home import Asked, let_live
    from infra.interrupts import asked_to_leave

    summary = let_live(settings, Asked(speed, people, duration, requests_per_s, seed), asked_to_leave(), err)
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    else:
        _show(summary)


def duration_of(text: str) -> timedelta:
    """The time that `text` names, such as 90s, 10m, 2h or 1d. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None or float(found[1]) == 0:
        raise ValueError(f"--for {text}: give a time such as 90s, 10m, 2h or 1d")
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])


def _show(summary: dict) -> None:
    table = Table(title=f"{summary['label']} visitors until {summary['world_time']}", title_justify="left", show_header=False)
    rows = {name: value for name, value in summary.items() if not isinstance(value, dict) and name != "label"}
    for name, one in summary["by_release"].items():
        rows |= {f"{name}: {key}": value for key, value in one.items()}
    for part in ("satisfaction", "this_run"):
        rows |= {f"{part.replace('_', ' ')}: {key}": value for key, value in summary[part].items()}
    for name, value in rows.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    out.print(table)
