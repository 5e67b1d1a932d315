"""`mixer data`: look at your own files, check them, fetch KuaiRand, and see which dataset would be used."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from infra.settings import get_settings

data = typer.Typer(
    help="Datasets: look at your own files and check them, fetch KuaiRand, see which dataset would be used.",
    no_args_is_help=True,
)

out = Console()

Place = Annotated[
    Path, typer.Argument(exists=True, help="A file of events, or a folder with files of events, posts, users, edges.")
]


@data.command("inspect")
def data_inspect(
    path: Place,
    write: Annotated[bool, typer.Option("--write", help="Write the guessed mapping.yaml beside the files.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a mapping.yaml that is there.")] = False,
) -> None:
    """Look at files of your own: guess what their columns mean, show ten mapped rows and everything doubtful.

    Exit code 1 where the guess maps no row.
    """
    from feature_repo.datasets.own.inspection import inspect
    from flows.cli.data_display import print_inspection

    found = inspect(path)
    print_inspection(found, out)
    if write:
        out.print(f"written: {found.write(force=force)}", highlight=False)
        out.print(f"next: correct it where it is doubtful, then `mixer data check {path}`", highlight=False)
    elif found.target.exists():
        out.print(
            f"{found.target} is there already and is what `mixer data check` and the ingestion read; "
            "this is a guess beside it, which `--write --force` puts in its place",
            highlight=False,
            soft_wrap=True,
        )
    else:
        out.print(f"nothing was written; `mixer data inspect {path} --write` writes {found.target}", highlight=False)
    if found.rows is None or found.rows.is_empty():
        out.print("[red]no row is mapped yet[/]: correct what is doubtful", highlight=False)
        raise typer.Exit(1)


@data.command("check")
def data_check(path: Place) -> None:
    """Say what an ingestion and validation of your files would say, and change nothing.

    Exit code 1 where they would be refused.
    """
    from feature_repo.datasets.own.check import check
    from feature_repo.ids.own_actions import held_names
    from feature_repo.ids.owner_ids import with_owner_ids
    from flows.cli.data_display import print_check
    from monitoring.expectations.bounds import Bounds
    from monitoring.expectations.forecast import Forecast

    settings = get_settings()
    forecast = Forecast(Bounds.of(settings))
    held = held_names(settings.platform_database_url)
    report = check(
        path,
        held,
        (settings.paths.lake, settings.paths.holdout),
        lambda table, rows, own: forecast.add(table, rows, own.earliest, partial(with_owner_ids, ids=own.ids)),
    )
    print_check(path, report, forecast, out)
    if not report.accepted or forecast.stops:
        raise typer.Exit(1)


@data.command("fetch")
def data_fetch(
    dataset: Annotated[str, typer.Argument(help="Which dataset; `kuairand` is the one that can be fetched.")] = "kuairand",
    url: Annotated[str | None, typer.Option(help="Metadata of another record, such as a mirror's.")] = None,
) -> None:
    """Download the official KuaiRand-Pure archive (CC BY-SA 4.0) into ./data, with resume and checksum."""
    from flows.cli.data_download import download_with_progress

    if dataset != "kuairand":
        raise ValueError(f"{dataset!r} can't be fetched; the one dataset that can is `kuairand`")
    folder = download_with_progress(Path("data"), url, out)
    out.print(f"KuaiRand-Pure is in {folder}", highlight=False)


@data.command("where")
def data_where() -> None:
    """Which dataset the main job would use, and where it is looked for."""
    from feature_repo.datasets.adapter import open_adapter
    from feature_repo.datasets.search_path import search_path

    for place in search_path(get_settings()):
        out.print(f"  {place}  {'exists' if place.exists() else 'not there'}", highlight=False)
    out.print(f"the main job would use: {open_adapter(get_settings()).label}", highlight=False)
