"""The API's own page, drawn from the live release's OpenAPI document; and that document itself."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import orjson
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.door import Door
from services.gateway.errors import DoorError, nothing_live
from services.gateway.pages.rendering import page

_METHODS = ("get", "post")


async def show(request: Request) -> Response:
    """GET /docs."""
    try:
        document = orjson.loads(await _from_live(request, "/openapi.json"))
    except DoorError as error:
        return page(
            "api_docs.html", {"page": "docs", "problem": f"{error.message} – {error.remedy}", "endpoints": []}, error.status
        )
    return page("api_docs.html", {"page": "docs", "problem": "", "endpoints": endpoints(document, str(request.base_url))})


async def openapi(request: Request) -> Response:
    """GET /openapi.json: the live release's."""
    return await _passed_on(request, "/openapi.json")


async def release(request: Request) -> Response:
    """GET /release: the live release's manifest, from its own process."""
    return await _passed_on(request, "/release")


def endpoints(document: dict[str, Any], base: str) -> list[dict[str, Any]]:
    """Method, path, summary, description, the request's fields and a call to try, for each operation of an OpenAPI document."""
    found = []
    for path, operations in document.get("paths", {}).items():
        for method in _METHODS:
            operation = operations.get(method)
            if operation is None:
                continue
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            schema = _resolved(document, body.get("schema", {}))
            examples = body.get("examples") or schema.get("examples") or []
            first = next(iter(examples.values()), {}).get("value") if isinstance(examples, dict) else next(iter(examples), None)
            found.append(
                {
                    "method": method.upper(),
                    "path": path,
                    "summary": operation.get("summary", ""),
                    "description": operation.get("description", ""),
                    "example": _call(base.rstrip("/") + path, first) if first is not None else "",
                    "fields": [_field(name, field, schema) for name, field in schema.get("properties", {}).items()],
                }
            )
    return found


def _call(address: str, body: Any) -> str:
    """The operation's example as a command for a shell."""
    quoted = json.dumps(body).replace("'", "'\\''")
    return f"curl {address} \\\n  -H 'content-type: application/json' \\\n  -d '{quoted}'"


def _field(name: str, field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    kinds = [field, *field.get("anyOf", [])]
    kind = " or ".join(dict.fromkeys(str(one["type"]) for one in kinds if "type" in one))
    return {"name": name, "kind": kind, "required": name in schema.get("required", []), "about": field.get("description", "")}


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    return document.get("components", {}).get("schemas", {}).get(reference.rpartition("/")[2], schema) if reference else schema


async def _passed_on(request: Request, path: str) -> Response:
    try:
        return Response(await _from_live(request, path), media_type="application/json")
    except DoorError as error:
        return error.response()


async def _from_live(request: Request, path: str) -> bytes:
    door: Door = request.app.state.door
    arm = door.pool.arms.get(door.pool.route.live or "")
    if arm is None:
        raise nothing_live()
    try:
        async with door.pool.session.get(arm.url + path) as answer:
            if answer.status != 200:
                raise DoorError(502, "arm_refused", f"the live release answered {answer.status} to {path}", "look at its log")
            return await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DoorError(502, "arm_down", f"the live release gave no answer ({error})", "look at its log") from error
