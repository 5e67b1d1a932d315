"""The page of A/B experiments: all there were, and what came of one."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from services.gateway.door import Door
from services.gateway.pages.charts import interval_bar
from services.gateway.pages.rendering import page


async def show(request: Request) -> Response:
    """GET /experiments?name=<experiment>: without a name, the newest one is shown."""
    door: Door = request.app.state.door
    context = await asyncio.to_thread(_context, door, request.query_params.get("name"))
    return page("experiments.html", context, 200 if context["known"] else 404)


def _context(door: Door, name: str | None) -> dict[str, Any]:
    from services.experiments.results import results_of  # with the judge and scipy: half a second of the door's start

    experiments = door.experiments.all()
    shown = next((one for one in experiments if one.name == name), None) if name else next(iter(experiments), None)
    verdict = None if shown is None else results_of(shown, door.settings)
    bars = [] if verdict is None else [(metric, interval_bar(metric)) for metric in verdict.metrics]
    known = name is None or shown is not None
    return {"page": "experiments", "experiments": experiments, "shown": shown, "verdict": verdict, "bars": bars, "known": known}
