"""The API's own page, drawn from the live release's OpenAPI document; and that document itself.

Where no release answers, the document is that of the code that the door runs.
"""

from __future__ import annotations

import asyncio
import json
from functools import cache
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
    content, problem = await _document(request)
    found = endpoints(orjson.loads(content), str(request.base_url))
    return page("api_docs.html", {"page": "docs", "problem": problem, "endpoints": found})


async def openapi(request: Request) -> Response:
    """GET /openapi.json: the live release's; that of the code where no release answers."""
    content, _ = await _document(request)
    return Response(content, media_type="application/json")


async def _document(request: Request) -> tuple[bytes, str]:
    """The OpenAPI document as JSON, and why it is not the live release's own; empty where it is."""
    try:
        return await _from_live(request, "/openapi.json"), ""
    except DoorError as error:
        said = f"{error.message}: {error.remedy}. Until then every call of these gets an error."
        return await asyncio.to_thread(own_document), said[:1].upper() + said[1:]


@cache
def own_document() -> bytes:
    """The document of the code that the door runs, as JSON."""
    from services.mixer.app import create_app  # with FastAPI: a third of a second of the door's start

    return orjson.dumps(create_app().openapi())


async def release(request: Request) -> Response:
    """GET /release: the live release's manifest, from its own process."""
    try:
        return Response(await _from_live(request, "/release"), media_type="application/json")
    except DoorError as error:
        return error.response()


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
                    "fields": _fields(document, schema),
                }
            )
    return found


def _call(address: str, body: Any) -> str:
    """The operation's example as a command for a shell."""
    quoted = json.dumps(body).replace("'", "'\\''")
    return f"curl {address} \\\n  -H 'content-type: application/json' \\\n  -d '{quoted}'"


def _fields(document: dict[str, Any], schema: dict[str, Any], within: str = "") -> list[dict[str, Any]]:
    """The fields of an object, each followed by those of the objects that it lists."""
    found = []
    for name, field in schema.get("properties", {}).items():
        kinds = [field, *field.get("anyOf", [])]
        kind = " or ".join(dict.fromkeys(str(one["type"]) for one in kinds if "type" in one))
        required, about = name in schema.get("required", []), field.get("description", "")
        found.append({"name": within + name, "kind": kind, "required": required, "about": about})
        listed = _resolved(document, field.get("items", {}))
        found += _fields(document, listed, f"{within}{name}[].")
    return found


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    return document.get("components", {}).get("schemas", {}).get(reference.rpartition("/")[2], schema) if reference else schema


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
