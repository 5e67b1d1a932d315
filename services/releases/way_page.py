"""A release's way through the ledger, and what the judge said last, as a page in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.releases.chain import LedgerEntry


def way_page(entries: Sequence[LedgerEntry], look: Mapping[str, Any] | None, gateway_url: str) -> str:
    """entries: those of one release, oldest first, at least one. look: the judge's newest word (`Looks.newest`), if any."""
    newest = entries[-1]
    rows = [f"| {one.at[11:19]} | {_state(one)} | {_cell(one.actor)} | {_cell(one.reason)} |" for one in entries]
    parts = [
        f"# Release {newest.release_id}",
        f"**{_words(newest.state)}**, by {newest.actor}: {newest.reason}",
        "\n".join(["| at | state | who | why |", "|---|---|---|---|", *rows]),
        *(_judged(look) if look else ()),
        f"[Control room]({gateway_url}/)",
    ]
    return "\n\n".join(parts)


def _judged(look: Mapping[str, Any]) -> list[str]:
    samples = look.get("samples", {})
    users = (
        f"{samples.get('treatment_users', 0):,} users of the canary and {samples.get('control_users', 0):,} of the live release"
    )
    said = f"The judge's last word: **{look['decision']}**, after {users}"
    return [said, "\n".join(f"- {reason}" for reason in look.get("reasons", ()))]


def _state(entry: LedgerEntry) -> str:
    return _words(entry.state) + ("" if entry.percent is None else f" {entry.percent:g} %")


def _words(state: str) -> str:
    return str(state).replace("_", " ")


def _cell(text: str) -> str:
    """`text` within a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
