"""Addresses of the pages and of what they load."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from services.gateway.pages import api_docs, control_room, experiments, release_page, timeline
from services.gateway.pages.rendering import FOLDER

_ASSETS = {"style.css": "text/css", "page.js": "text/javascript", "mark.svg": "image/svg+xml"}


async def asset(request: Request) -> Response:
    """GET /assets/<name>: one of the three files that the pages load."""
    name = request.path_params["name"]
    if name not in _ASSETS:
        return Response("no such asset", 404)
    return FileResponse(FOLDER / name, media_type=_ASSETS[name], headers={"x-content-type-options": "nosniff"})


ROUTES = [
    Route("/", control_room.show),
    Route("/releases/{release_id}/decision", control_room.decide_by_form, methods=["POST"]),
    Route("/timeline", timeline.show),
    Route("/experiments", experiments.show),
    Route("/releases/{release_id}", release_page.show),
    Route("/feed.atom", release_page.feed),
    Route("/docs", api_docs.show),
    Route("/openapi.json", api_docs.openapi),
    Route("/release", api_docs.release),
    Route("/assets/{name}", asset),
]
