"""`mixer release`: what became of releases, and a person's decisions about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.settings import get_settings

if TYPE_CHECKING:
    from services.releases.ledger import ReleaseSummary

release = typer.Typer(help="Releases: list and follow them, approve, pause, promote, abort, roll back.", no_args_is_help=True)

out = Console()

MIN_FOLDED = 16  # characters a line of what a narrow terminal folds
NAMES = ("release", "state", "since", "model")  # of the columns that are never cut


@release.command("list")
def release_list() -> None:
    """All releases and what became of them."""
    from services.releases.ledger import Ledger
    from services.releases.published_heads import PublishedHeads

    ledger = Ledger(get_settings().platform_database_url)
    out.print(releases_table(ledger.releases(), out.width), crop=False)
    problems = ledger.verify(PublishedHeads(get_settings().paths.releases))
    out.print(
        "ledger: " + (escape("; ".join(problems)) if problems else "every hash and link holds"),
        style="red" if problems else "green",
    )


def releases_table(releases: Sequence[ReleaseSummary], width: int) -> Table:
    """A row a release, for a terminal of `width` characters.

    Why is folded; id, state, since and model stay whole, beyond the terminal's edge at worst.
    """
    rows = [(one.release_id, str(one.state), one.entry.at[:19], f"v{one.manifest.model_version}") for one in releases]
    longest = [max(map(len, column)) for column in zip(NAMES, *rows, strict=True)]
    narrowest = sum(longest) + MIN_FOLDED + 3 * len(NAMES) + 2  # with the room between columns
    table = Table(box=SIMPLE_HEAD, pad_edge=False, width=narrowest if width < narrowest else None)
    for name, length in zip(NAMES, longest, strict=True):
        table.add_column(name, no_wrap=True, min_width=length)
    table.add_column("why", overflow="fold")
    for row, one in zip(rows, releases, strict=True):
        table.add_row(*row, escape(f"{one.entry.reason} ({one.entry.actor})"))
    return table


@release.command()
def at(
    time: Annotated[str, typer.Argument(help="As 2026-01-31T18:30, in UTC where it names no zone.")],
    user: Annotated[str | None, typer.Option(help="A user's id: the release that this user belonged to.")] = None,
) -> None:
    """What was live at a moment that has passed, and beside it."""
    from services.releases.ledger import Ledger
    from services.releases.past import moment_of, route_at, served_at

    moment, entries = moment_of(time), Ledger(get_settings().platform_database_url).entries()
    if user is not None:
        out.print(
            f"user {user} belonged to {served_at(entries, moment, user) or 'no release: nothing was live'}", highlight=False
        )
        return
    route = route_at(entries, moment)
    canary = f", {route.canary} for {route.canary_percent:g} % of users" if route.canary else ""
    out.print(f"{route.live or 'nothing'} was live{canary}", highlight=False)


def _answer(verb: str, release_id: str, actor: str, reason: str, as_json: bool) -> None:
    from flows.steps.admin_client import answer, in_words

    done = answer(get_settings(), verb, release_id, actor, reason)
    if as_json:
        out.print_json(data=done, default=str)
    else:
        out.print(in_words(verb, done), highlight=False, markup=False)


Actor = Annotated[str, typer.Option("--as", help="Your name, for the ledger; not needed with MIXER_TOKEN.")]
Reason = Annotated[str, typer.Option(help="Why, for the ledger.")]
AsJson = Annotated[bool, typer.Option("--json", help="All that the gateway answered, as JSON.")]


@release.command()
def approve(release_id: str, reason: Reason, actor: Actor = "", as_json: AsJson = False) -> None:
    """Let a release that awaits approval go live."""
    _answer("approve", release_id, actor, reason, as_json)


@release.command()
def reject(release_id: str, reason: Reason, actor: Actor = "", as_json: AsJson = False) -> None:
    """Turn a release down that awaits approval."""
    _answer("reject", release_id, actor, reason, as_json)


@release.command()
def rollback(release_id: str, reason: Reason, actor: Actor = "", as_json: AsJson = False) -> None:
    """Take a release out of traffic at once; where it is live, the one before it takes over."""
    _answer("rollback", release_id, actor, reason, as_json)


@release.command()
def abort(release_id: str, reason: Reason, actor: Actor = "", as_json: AsJson = False) -> None:
    """End a rollout that is under way; everybody is back on the live release at once."""
    _answer("abort", release_id, actor, reason, as_json)


@release.command()
def promote(release_id: str, reason: Reason, actor: Actor = "", as_json: AsJson = False) -> None:
    """Take a canary to its next step without the judge's yes; from the last step, to the question for approval."""
    _answer("promote", release_id, actor, reason, as_json)


@release.command()
def pause(release_id: str, reason: Reason, actor: Actor = "", as_json: AsJson = False) -> None:
    """Hold a rollout where it is. Harm still rolls it back."""
    _answer("pause", release_id, actor, reason, as_json)


@release.command()
def resume(release_id: str, reason: Reason, actor: Actor = "", as_json: AsJson = False) -> None:
    """Let a paused rollout go on."""
    _answer("resume", release_id, actor, reason, as_json)


@release.command()
def watch(release_id: str, interval_s: Annotated[float, typer.Option(help="Seconds between two looks.")] = 1.0) -> None:
    """Follow a rollout until it has ended: every entry of the ledger, and the judge's newest word."""
    from flows.cli.release_watch import watch_release

    watch_release(get_settings(), release_id, out, interval_s)


@release.command()
def judge(
    release_id: Annotated[str | None, typer.Argument(help="A release that is or was a canary.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that ever were, as a table.")] = False,
    policy: Annotated[
        Path | None, typer.Option(help="A policy to try, as YAML; default: MIXER_JUDGE_POLICY, else the one that ships.")
    ] = None,
) -> None:
    """What the judge says now of a canary past or present, on the outcomes that were kept. Nothing is changed."""
    from flows.cli.release_verdicts import show_verdict, show_verdicts
    from monitoring.canary.policy import policy_of
    from services.releases.retrospect import Retrospect

    if every == (release_id is not None):
        raise ValueError("name a release, such as `mixer release judge r2`, or give --all")
    settings = get_settings()
    chosen = policy_of(policy or settings.judge_policy)
    retrospect = Retrospect(settings.platform_database_url, settings.outcomes_url, chosen)
    if every:
        show_verdicts(retrospect.judge_all(), out)
    else:
        show_verdict(retrospect.judge(release_id), out)
