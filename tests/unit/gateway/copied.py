"""A pool whose one release besides the live one answers every copy alike, without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

from services.gateway.arms import Arm
from services.releases.route import Route


class OneAnswer:
    """Answers every request with `answer`; `asked` holds the addresses."""

    def __init__(self, answer: bytes) -> None:
        self.answer, self.asked = answer, []

    @asynccontextmanager
    async def post(self, url: str, **_: object) -> AsyncIterator[SimpleNamespace]:
        self.asked.append(url)
        yield SimpleNamespace(status=200, read=self._read, raise_for_status=lambda: None)

    async def _read(self) -> bytes:
        return self.answer


def one_arm(route: Route, answer: bytes = b"{}", *, healthy: bool = True, in_flight: int = 0) -> SimpleNamespace:
    """A pool with `r2` beside the live release of `route`."""
    arm = Arm("r2", "http://127.0.0.1:1", healthy=healthy, in_flight=in_flight)
    return SimpleNamespace(route=route, arms={"r2": arm}, session=OneAnswer(answer))
