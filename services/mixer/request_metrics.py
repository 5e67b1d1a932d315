"""Counts and times requests, and says in a header which release answered."""

from __future__ import annotations

import time

from starlette.datastructures import State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.mixer.errors import error_response

MEASURED = ("/for_you", "/following", "/score", "/explain", "/events")
ALWAYS_SERVED = ("/ready", "/openapi.json")  # these need no runtime


class RequestMetrics:
    """Plain ASGI middleware (Starlette's function-style one costs a task a request)."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        runtime, path = self._state.runtime, scope["path"]
        if runtime is None:
            if path in ALWAYS_SERVED:
                await self._app(scope, receive, send)
            else:
                waiting = error_response(
                    503, "loading", "the release is still being loaded", "wait until GET /ready answers 200"
                )
                waiting.headers["x-mixer-loading"] = "1"  # the door asks another release meanwhile
                await waiting(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def with_release(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-mixer-release", runtime.release_id.encode()))
            await send(message)

        try:
            await self._app(scope, receive, with_release)
        finally:
            if path in MEASURED:
                runtime.metrics.requests.labels(path, str(status)).inc()
                runtime.metrics.latency.labels(path).observe(time.perf_counter() - started)
