"""The one door: a plain ASGI app in front of every release."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from infra.settings import Settings
from services.gateway import admin
from services.gateway.door import Door
from services.gateway.pages import routes as pages
from services.gateway.proxy import PROXIED
from services.gateway.report_files import ReportFiles


def create_app(settings: Settings) -> Starlette:
    """The gateway over the platform of `settings`. Its route, arms and probes run within the app's lifespan."""
    door = Door.open(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await door.pool.start()
        door.watch.start()
        door.processes.start()
        try:
            yield
        finally:
            await door.processes.close()
            await asyncio.to_thread(door.watch.close)
            await door.shadow.close()
            await door.fast_path.close()
            await door.proxy.pairs.close()
            await door.pool.close()
            await asyncio.to_thread(door.proxy.answers.close)

    app = Starlette(
        routes=[
            # The hot path first: Starlette tries routes in order.
            *(Route(path, door.proxy.handle, methods=["POST"]) for path in PROXIED),
            Route("/livez", livez),
            Route("/healthz", healthz),
            Route("/metrics", metrics),
            Route("/admin/state", admin.state),
            Route("/admin/releases/{release_id}/{action}", admin.act, methods=["POST"]),
            *pages.ROUTES,
            Mount("/reports", ReportFiles(settings.paths.reports), name="reports"),
        ],
        lifespan=lifespan,
    )
    app.state.door = door
    return app


async def livez(request: Request) -> Response:
    """200 as soon as the door answers, whatever stands behind it."""
    return JSONResponse({"alive": True})


async def healthz(request: Request) -> Response:
    """200 while the live release answers, or the one that stands in for it, else 503; says what is wrong."""
    door: Door = request.app.state.door
    route, failover = door.pool.route, door.pool.failover
    arm = door.pool.arms.get(route.live) if route.live else None
    well = arm is not None and arm.healthy
    why = None if well else ("no release is live" if route.live is None else arm.last_error if arm else "it has no process")
    said = {"ok": well or failover, "live": route.live, "canary": route.canary, "why": why}
    return JSONResponse({**said, "standby": door.pool.standby, "failover": failover}, 200 if well or failover else 503)


async def metrics(request: Request) -> Response:
    """Prometheus text."""
    door: Door = request.app.state.door
    return Response(generate_latest(door.metrics.registry), media_type=CONTENT_TYPE_LATEST)
