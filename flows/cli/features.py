"""`mixer features`: the aggregate catalogue on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from feature_repo.aggregates.catalogue import Feature

features = typer.Typer(
    help="The feature catalogue: list it, show one feature, search by words, backfill a family, judge them.",
    no_args_is_help=True,
)

out = Console()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, all of it, instead of a table.")]


@features.command("list")
def list_features(
    family: Annotated[str | None, typer.Option(help="Only this family, as user_author.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only features of this owner, as ranking.")] = None,
    statistic: Annotated[str | None, typer.Option(help="Only this statistic, as rate.")] = None,
    as_json: AsJson = False,
) -> None:
    """The features of a family, owner or statistic; with no choice, how many each family has."""
    from feature_repo.aggregates.catalogue import catalogue

    chosen = {"family": family, "owner": owner, "statistic": statistic}
    wanted = {field: _known(field, value) for field, value in chosen.items() if value is not None}
    found = [one for one in catalogue() if all(getattr(one, field) == value for field, value in wanted.items())]
    if as_json:
        _print_json(found)
    elif wanted:
        _print_features(found)
    else:
        _print_families()


@features.command("show")
def show_feature(
    name: Annotated[str, typer.Argument(help="Its name, as user_author.like.rate.7d.")], as_json: AsJson = False
) -> None:
    """All that is known of one feature: meaning, owner, formula, where it is computed, an example."""
    from feature_repo.aggregates.catalogue import find

    feature = find(name)
    fields = asdict(feature) | _computation(feature)
    if as_json:
        typer.echo(json.dumps(fields, indent=2))
        return
    table = Table(show_header=False, box=None)
    for field, value in fields.items():
        table.add_row(f"[bold]{field.replace('_', ' ')}[/]", "all time" if value is None else str(value))
    out.print(table, highlight=False)


@features.command("search")
def search_features(
    words: Annotated[list[str], typer.Argument(help="Words that its name and description hold, as: like rate author.")],
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many.")] = 40,
    as_json: AsJson = False,
) -> None:
    """Features whose name and description hold all the words."""
    from feature_repo.aggregates.catalogue import search

    found = search(" ".join(words))
    if as_json:
        _print_json(found)
        return
    if not found:
        raise ValueError(f"no feature's name and description hold all of {' '.join(words)!r}; try fewer words")
    _print_features(found[:limit])
    if len(found) > limit:
        out.print(f"and {len(found) - limit:,} more: add words, or --limit", highlight=False)


@features.command()
def backfill(
    family: Annotated[str, typer.Argument(help="Which family, as user_author; `mixer features list` names them.")],
    as_of: Annotated[
        str | None, typer.Option(help="Only events before this moment, as 2022-05-01T12:00 (UTC); default: all of the lake's.")
    ] = None,
    memory_gb: Annotated[float, typer.Option(min=0.25, help="How much memory the engine may take.")] = 4.0,
) -> None:
    """Compute a family from the lake's whole history, and write the rows of its feature view."""
    from flows.cli.features_backfill import backfill_with_progress

    done = backfill_with_progress(_known("family", family), as_of, memory_gb, out)
    out.print(
        f"{done.family}: {done.cells:,} cells of {done.keys:,} keys as of {done.as_of:%Y-%m-%d %H:%M:%S} UTC\n"
        f"cells in {done.cell_folder}, rows of the view in {done.view_file}; the next materialisation brings them online",
        highlight=False,
        soft_wrap=True,
    )


@features.command()
def quality(
    again: Annotated[bool, typer.Option("--again", help="Judge the features now instead of showing the last figures.")] = False,
    as_json: AsJson = False,
) -> None:
    """Null share, drift and importance by family, and where the page with every feature lies."""
    from flows.cli.features_quality import quality_figures

    found, page = quality_figures(again)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    table = Table("family", "all", "worth", "drifted", "unused", "doubles", "constant", "null")
    for one in found["families"]:
        counts = [f"{one[name]:,}" for name in ("drifted", "unused", "duplicates", "constant")]
        shares = f"{one['importance']:.1%}", f"{one['null_share']:.1%}"
        table.add_row(one["family"], f"{one['features']:,}", shares[0], *counts, shares[1])
    out.print(table, highlight=False)
    out.print(f"{found['label']}, judged {found['at'][:19]} UTC on {found['impressions']:,} impressions", highlight=False)
    out.print(f"the page with every feature: {page}", highlight=False, soft_wrap=True)


def _known(field: str, value: str) -> str:
    """`value` where some feature has it; ValueError naming the choices otherwise."""
    from difflib import get_close_matches

    from feature_repo.aggregates.catalogue import catalogue

    choices = dict.fromkeys(getattr(one, field) for one in catalogue())
    if value in choices:
        return value
    near = get_close_matches(value, choices, 3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(f"no feature has {field} {value!r}; {hint}there are {', '.join(choices)}")


def _computation(feature: Feature) -> dict[str, str | float]:
    """Where a feature is computed, what a key never seen has, and an example with its value."""
    import inspect

    from feature_repo.aggregates.example_cells import example_rows, example_words
    from feature_repo.aggregates.features import FeatureSelection
    from feature_repo.aggregates.measures import DAY_US
    from feature_repo.aggregates.recipes import recipe_of

    recipe = recipe_of(feature)
    measures = dict.fromkeys(read.measure for read in recipe.reads)
    steps = dict.fromkeys([*(read.reader for read in recipe.reads), recipe.formula])
    selection = FeatureSelection.of([feature.name])
    value = selection.vectors(example_rows(feature.measure, 20_000 * DAY_US), 20_000 * DAY_US)[0, 0]
    return {
        "reads": f"cells {', '.join(measures)} of the key",
        "computed_in": ", then ".join(f"{inspect.getmodule(step).__name__}.{step.__name__}" for step in steps),
        "value_if_never_seen": round(float(selection.cold()[0]), 6),
        "example": f"{example_words(feature)}: {value:.6g}",
    }


def _print_json(found: Iterable[Feature]) -> None:
    typer.echo(json.dumps([asdict(one) for one in found], indent=1))


def _print_features(found: list[Feature]) -> None:
    table = Table("feature", "owner", "meaning")
    for one in found:
        table.add_row(one.name, one.owner, one.description)
    out.print(table, highlight=False)
    out.print(f"{len(found):,} features", highlight=False)


def _print_families() -> None:
    from feature_repo.aggregates.catalogue import catalogue, features_of
    from feature_repo.aggregates.families import FAMILIES

    table = Table("family", "owner", "features", "holds")
    for family in FAMILIES:
        table.add_row(family.name, family.owner, f"{len(features_of(family)):,}", family.words)
    out.print(table, highlight=False)
    out.print(f"{len(catalogue()):,} features in {len(FAMILIES)} families; `mixer features list --family NAME` lists one's")
