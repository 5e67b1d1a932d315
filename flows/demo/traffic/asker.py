"""Asks the gateway what it would show in a visit. What came of it is in the platform's own logs; here it is only counted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np

from feature_repo.ids import RememberedIds
from flows.demo.traffic.visits import Visit


class ReplayFailed(RuntimeError):
    """The replay can't go on; the message says what did not answer."""


@dataclass(frozen=True)
class Answer:
    """How one visit was answered. release: whose users it belongs to; said: of an error, what came back."""

    release: str
    latency_ms: float
    timeline: bool  # whether a whole timeline was asked for too
    said: str | None = None


class Asker:
    """Asks through the gateway, as any client does."""

    def __init__(self, client: httpx.AsyncClient, ids: RememberedIds) -> None:
        self.client = client
        self.ids = ids

    async def ask(self, visit: Visit, *, with_timeline: bool) -> Answer:
        """POST /score with the visit's posts, and POST /for_you where `with_timeline`."""
        body = self._body(visit)
        started = time.perf_counter()
        response = await self.client.post("/score", json=body)
        latency_ms = (time.perf_counter() - started) * 1000
        release = response.headers.get("x-mixer-release")
        if release is None:
            raise ReplayFailed(f"the gateway answered {response.status_code} without a release: {response.text[:300]}")
        fallback = response.headers.get("x-mixer-fallback")
        if fallback is not None:  # another release answered for the user's own
            return Answer(fallback.partition(":")[0], latency_ms, timeline=False, said=fallback)
        if response.status_code != 200:
            return Answer(release, latency_ms, timeline=False, said=words(response))
        if not with_timeline:
            return Answer(release, latency_ms, timeline=False)
        timeline = await self._timeline(visit, body)
        return Answer(release, latency_ms, timeline=True, said=None if timeline.status_code == 200 else words(timeline))

    async def _timeline(self, visit: Visit, body: dict[str, Any]) -> httpx.Response:
        request = {"user_id": body["user_id"], "count": 20, "requested_at": body["requested_at"]}
        return await self.client.post("/for_you", json={**request, "request_id": f"{visit.request_id}-timeline"})

    def _body(self, visit: Visit) -> dict[str, Any]:
        """The visit as a client asks for it: ids as their owner writes them."""
        return {
            "user_id": self.ids.shown("user", np.array([visit.user_id]))[0],
            "post_ids": self.ids.shown("post", _distinct(visit.post_ids)),
            "product": visit.product,
            "requested_at": datetime.fromtimestamp(visit.at_us / 1e6, UTC).isoformat(),
            "request_id": visit.request_id,
        }


def words(response: httpx.Response) -> str:
    """An error as people read it: the status and the message of the API's error shape, or the beginning of the body."""
    try:
        error = response.json()["error"]
        text = f"{error['message']}; {error['remedy']}"
    except (ValueError, KeyError, TypeError):
        text = response.text[:300]
    return f"{response.status_code} at {response.request.url.path}: {text}"


def _distinct(post_ids: np.ndarray) -> np.ndarray:
    """Each post once, in the order of the first places."""
    return np.array(list(dict.fromkeys(post_ids.tolist())), np.int64)
