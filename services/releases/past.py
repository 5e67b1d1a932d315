"""What was live at a moment that has passed, for everybody or for one user, from the ledger's entries alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from services.releases.chain import LedgerEntry
from services.releases.route import Route, advance_route
from services.releases.split import release_of


def route_at(entries: Iterable[LedgerEntry], moment: datetime) -> Route:
    """The route at `moment`, which has a zone: after the last entry at or before it."""
    route = Route()
    for entry in entries:
        if datetime.fromisoformat(entry.at) > moment:
            break
        route = advance_route(route, entry.release_id, entry.state, entry.percent)
    return route


def served_at(entries: Iterable[LedgerEntry], moment: datetime, user_id: str | int) -> str | None:
    """The release that the user belonged to at `moment`; None where nothing was live.

    Where that release's process did not answer, another one did: the door's header and its log say so, the ledger does not.
    """
    return release_of(user_id, route_at(entries, moment))


def moment_of(text: str) -> datetime:
    """A time that has passed, as people write it, ISO 8601; without a zone it is UTC. Raises ValueError with an example."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time; write it as 2026-01-31T18:30 (UTC) or 2026-01-31T18:30+02:00") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment > datetime.now(UTC):
        raise ValueError(f"{text} has not been yet; the ledger knows moments that have passed")
    return moment
