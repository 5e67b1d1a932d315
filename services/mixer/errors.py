"""Errors as clients see them: one shape, with a code to branch on, a message, and what to do."""

from __future__ import annotations

import logging
from http import HTTPStatus

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

logger = logging.getLogger(__name__)


class ApiError(Exception):
    """An answer other than 200; raised by endpoints."""

    def __init__(self, status: HTTPStatus, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.remedy = status, code, message, remedy


def error_response(status: int, code: str, message: str, remedy: str) -> Response:
    body = {"error": {"code": code, "message": message, "remedy": remedy}}
    return Response(orjson.dumps(body), status_code=status, media_type="application/json")


def install(app: FastAPI) -> None:
    """Give every way a request can go wrong the one error shape."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


async def _api_error(_: Request, error: ApiError) -> Response:
    return error_response(error.status, error.code, error.message, error.remedy)


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    first = error.errors()
    if any(one["type"] == "json_invalid" for one in first):
        return error_response(400, "invalid_json", f"the body is not JSON: {first[0]['ctx']['error']}", "send a JSON object")
    problems = "; ".join(_in_words(one) for one in first[:5])
    return error_response(
        422, "invalid_request", problems, "correct the named fields and send the request again; see /openapi.json"
    )


def _in_words(one: dict) -> str:
    field = ".".join(str(part) for part in one["loc"] if part != "body") or "body"
    given = one.get("input")
    shown = f" (got {given!r})" if isinstance(given, (int, float, str, bool)) and len(repr(given)) < 60 else ""
    return f"{field}: {one['msg'].removeprefix('Value error, ')}{shown}"


async def _http_error(_: Request, error: HTTPException) -> Response:
    return error_response(error.status_code, "refused", str(error.detail), "see /openapi.json for what can be asked")


async def _unexpected(request: Request, error: Exception) -> Response:
    logger.error("%s failed", request.url.path, exc_info=error)
    message = f"{type(error).__name__} while serving {request.url.path}"
    answer = error_response(500, "internal", message, "try again; report it if it lasts")
    # This answer is made outside of all middleware: the door must see of it too which release it is.
    if (runtime := request.app.state.runtime) is not None:
        answer.headers["x-mixer-release"] = runtime.release_id
    return answer
