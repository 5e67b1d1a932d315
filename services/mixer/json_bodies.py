"""Every body is JSON, whatever its content type says: `curl -d` calls it a form, and some clients call it nothing."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

_JSON = (b"content-type", b"application/json")


class JsonBodies:
    """Plain ASGI middleware that sets the content type of requests to JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
            scope = {**scope, "headers": [*others, _JSON]}
        await self._app(scope, receive, send)
