"""The one shape of an error that any client of the door sees."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response


class DoorError(Exception):
    """An answer that is an error: HTTP status, a code for programs, a message and a remedy for people."""

    def __init__(self, status: int, code: str, message: str, remedy: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.remedy = status, code, message, remedy
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """As JSON: `{"error": {"code", "message", "remedy"}}`."""
        body = orjson.dumps({"error": {"code": self.code, "message": self.message, "remedy": self.remedy}})
        return Response(body, self.status, self.headers, "application/json")


def nothing_live() -> DoorError:
    """No release answers: none was ever made, or the live one's process is not up."""
    return DoorError(
        503,
        "nothing_live",
        "no release is live",
        "`mixer start` makes the first, and takes some minutes; where one was live before, `mixer up` brings it back",
    )
