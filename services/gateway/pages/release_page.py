"""The page of one release, alone or beside another, and the feed of all that happened to releases."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.door import Door
from services.gateway.pages.canary_view import CanaryView, canary_view
from services.gateway.pages.charts import interval_bar
from services.gateway.pages.rendering import HEADERS, page, rendered
from services.releases.chain import LedgerEntry
from services.releases.ledger import ReleaseSummary
from services.releases.states import ReleaseState

FEED_ENTRIES = 50
_FACTS = (
    ("Model", "model_version"),
    ("Weights", "weight_preset"),
    ("Features", "feature_service"),
    ("Trained on", "data_fingerprint"),
    ("Bento", "bento_tag"),
    ("Built", "created_at"),
)


@dataclass(frozen=True)
class ReleaseView:
    """One release: what it is made of, what became of it, and its canary where it had one."""

    summary: ReleaseSummary
    entries: list[LedgerEntry]
    canary: CanaryView | None
    facts: list[tuple[str, str, bool]]  # name, value, and whether the release beside it has another


async def show(request: Request) -> Response:
    """GET /releases/{release_id}?beside=<release id>."""
    door: Door = request.app.state.door
    wanted = [request.path_params["release_id"], request.query_params.get("beside")]
    context = await asyncio.to_thread(_context, door, [name for name in wanted if name])
    return page("release.html", context, 200 if context["views"] else 404)


async def feed(request: Request) -> Response:
    """GET /feed.atom: the ledger's newest entries, for any feed reader."""
    door: Door = request.app.state.door
    entries = await asyncio.to_thread(door.ledger.entries)
    base = str(request.base_url).rstrip("/")
    content = {"entries": list(reversed(entries))[:FEED_ENTRIES], "base": base, "head": entries[-1] if entries else None}
    return Response(rendered("feed.atom.xml", content), media_type="application/atom+xml", headers=HEADERS)


def _context(door: Door, wanted: list[str]) -> dict[str, Any]:
    releases, entries, route = door.ledger.releases(), door.ledger.entries(), door.ledger.route()
    found = [one for name in dict.fromkeys(wanted) for one in releases if one.release_id == name]
    views = [_view(door, one, found, entries, route) for one in found] if len(found) == len(set(wanted)) else []
    return {
        "page": "release",
        "wanted": wanted,
        "views": views,
        "others": [one.release_id for one in reversed(releases) if one.release_id != wanted[0]],
        "interval_bar": interval_bar,
    }


def _view(door: Door, one: ReleaseSummary, shown: list[ReleaseSummary], entries: list[LedgerEntry], route: Any) -> ReleaseView:
    own = [entry for entry in entries if entry.release_id == one.release_id]
    tried = any(entry.state is ReleaseState.CANARY for entry in own)
    facts = [(name, str(getattr(one.manifest, field)), _differs(field, shown)) for name, field in _FACTS]
    facts += [(name, str(value), False) for name, value in one.manifest.settings.items()]
    return ReleaseView(one, own, canary_view(door, one.release_id, entries, route) if tried else None, facts)


def _differs(field: str, shown: list[ReleaseSummary]) -> bool:
    return len({str(getattr(one.manifest, field)) for one in shown}) > 1
