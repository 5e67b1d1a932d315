"""A request's body, read no further than its limit."""

from __future__ import annotations

from starlette.requests import Request

from services.gateway.errors import DoorError

MAX_BODY_BYTES = 2_000_000


async def body_of(request: Request, most: int = MAX_BODY_BYTES) -> bytes:
    """The whole body. Raises DoorError 413 as soon as it is known to be longer than `most` bytes; the rest is not read."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > most:
        raise _too_large(f"the body has {told} bytes", most)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _too_large(f"the body has more than {most} bytes", most)
        parts.append(part)
    return b"".join(parts)


def _too_large(what: str, most: int) -> DoorError:
    return DoorError(413, "body_too_large", what, f"send at most {most} bytes at a time")
