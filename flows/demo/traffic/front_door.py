"""The gateway as the visitors' app meets it: bounded, paced, waited for while it can't be reached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import orjson

from flows.demo.traffic.asker import words

IN_FLIGHT = 8  # requests at a time: more would only wait in the mixers
TIMEOUT_S = 20.0  # longer than the gateway itself waits for its last arm
FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 0.5, 30.0
EVENT_TRIES = 3  # of a batch that the platform could not take; event ids make repeats harmless
EVENT_BACK_OFF_S = 1.0  # before the second try; doubles with every further one
_HEADERS = {"content-type": "application/json"}


class NoAnswer(Exception):
    """The platform gave no answer that a client can use; the message is what it said."""


@dataclass(frozen=True)
class Page:
    """A page as it was served."""

    release: str
    post_ids: list[int | str]
    latency_ms: float


class FrontDoor:
    """Asks the gateway at `url`. Enter it within the loop that uses it."""

    def __init__(self, url: str, pages_per_s: float | None, tell: Callable[[str], None]) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, timeout=TIMEOUT_S, limits=httpx.Limits(max_connections=IN_FLIGHT), headers=_HEADERS, trust_env=False
        )
        self._gate = asyncio.Semaphore(IN_FLIGHT)
        self._between_s = 0.0 if pages_per_s is None else 1.0 / pages_per_s
        self._next_page_at = 0.0
        self._tell = tell
        self._reachable = asyncio.Event()
        self._reachable.set()
        self._knocking: asyncio.Task[None] | None = None

    @property
    def away(self) -> bool:
        """Whether the gateway can't be reached just now."""
        return not self._reachable.is_set()

    async def close(self) -> None:
        if self._knocking is not None:
            self._knocking.cancel()
        await self._client.aclose()

    async def page(self, product: str, body: Callable[[], dict]) -> Page:
        """A page of `product`; `body` makes the request at the moment of asking. Raises NoAnswer."""
        await self._pace()
        response, latency_ms = await self._post(f"/{product}", body)
        if response.status_code != 200:
            raise NoAnswer(words(response))
        try:
            posts = [post["post_id"] for post in orjson.loads(response.content)["posts"]]
            return Page(response.headers["x-mixer-release"], posts, latency_ms)
        except (ValueError, KeyError, TypeError) as error:
            raise NoAnswer(f"a page that can't be read: {error!r}") from error

    async def send(self, user_id: int, events: list[dict]) -> tuple[int, list[str]]:
        """Send one person's events; how many were accepted, and why others were refused. Raises NoAnswer."""
        for tried in range(EVENT_TRIES):
            if tried:
                await asyncio.sleep(EVENT_BACK_OFF_S * 2 ** (tried - 1))
            try:
                response, _ = await self._post("/events", lambda: {"user_id": user_id, "events": events})
                if response.status_code == 200:
                    answer = orjson.loads(response.content)
                    return int(answer["accepted"]), [str(one["reason"]) for one in answer["rejected"]]
                said = words(response)
            except NoAnswer as error:
                said = str(error)
            except (ValueError, KeyError, TypeError) as error:
                said = f"an answer that can't be read: {error!r}"
        raise NoAnswer(said)

    async def _pace(self) -> None:
        now = time.monotonic()
        at = max(now, self._next_page_at)
        self._next_page_at = at + self._between_s
        if at > now:
            await asyncio.sleep(at - now)

    async def _post(self, path: str, body: Callable[[], dict]) -> tuple[httpx.Response, float]:
        """The answer and its latency in milliseconds; waits for a gateway that can't be reached. Raises NoAnswer."""
        while True:
            await self._reachable.wait()
            async with self._gate:
                if self.away:
                    continue
                started = time.perf_counter()
                try:
                    response = await self._client.post(path, content=orjson.dumps(body()))
                    return response, (time.perf_counter() - started) * 1000
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    self._is_away(error)
                except httpx.HTTPError as error:
                    raise NoAnswer(f"{type(error).__name__} at {path}") from error

    def _is_away(self, error: Exception) -> None:
        if self.away:
            return
        self._reachable.clear()
        self._tell(f"the gateway at {self._client.base_url} can't be reached ({error}): waiting for it")
        self._knocking = asyncio.create_task(self._knock())

    async def _knock(self) -> None:
        """Ask until the gateway answers, less and less often."""
        pause_s = FIRST_BACK_OFF_S
        while self.away:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_BACK_OFF_S)
            try:
                await self._client.get("/livez")
            except httpx.HTTPError:
                continue
            self._reachable.set()
            self._tell("the gateway answers again")
