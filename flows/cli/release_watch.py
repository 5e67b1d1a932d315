"""`mixer release watch`: a rollout as it goes on, in the terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape

from flows.cli.step_progress import kind_of
from infra.settings import Settings
from monitoring.canary.looks import Looks
from services.releases.controller import ENDED
from services.releases.ledger import Ledger

_COLOURS = {"live": "green", "rolled_back": "red", "awaiting_approval": "yellow"}


def watch_release(settings: Settings, release_id: str, out: Console, interval_s: float) -> None:
    """Print what is in the ledger, then what comes, until the release is live, retired or rolled back.

    Raises UnknownRelease for a name that is not in the ledger. Ctrl-C ends the watching, and nothing else.
    """
    ledger, looks = Ledger(settings.platform_database_url), Looks(settings.platform_database_url)
    told, said = 0, ""
    while True:
        entries = ledger.entries_of(release_id)
        for entry in entries[told:]:
            colour = _COLOURS.get(entry.state, "cyan")
            state = entry.state if entry.percent is None else f"{entry.state} {entry.percent:g} %"
            out.print(f"{entry.at[11:19]}  [{colour}]{state}[/]  {escape(entry.reason)}  [dim]{escape(entry.actor)}[/]")
        told = len(entries)
        if entries[-1].state in ENDED:
            return
        if (look := looks.newest(release_id)) is not None and kind_of(word := _word(look)) != said:
            out.print(f"          [dim]{escape(word)}[/]")
            said = kind_of(word)
        time.sleep(interval_s)


def _word(look: dict) -> str:
    samples = look["samples"]
    return (
        f"judge: {look['decision']} after {samples['treatment_users']:,} users of the canary and "
        f"{samples['control_users']:,} of the live release; {look['reasons'][0]}"
    )
