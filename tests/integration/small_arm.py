"""A small but real release process for the gateway's tests: an ASGI app on a free port that answers in the mixer's shapes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp


@dataclass
class SmallArm:
    """One release. `hold` makes it wait for `let_go` before it answers; `status` is what its ranking endpoints answer."""

    release: str
    status: int = 200
    ready: bool = True
    hold: bool = False
    empty: bool = False  # whether its pages have no posts
    numbers: bool = True  # whether its scores are numbers
    old: bool = False  # whether it knows no knob
    asked: list[dict] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    says: str | None = None  # which release it says it is, where that is not `release`; empty: none
    loading: bool = False

    def app(self) -> Starlette:
        ranked = [Route(path, self.timeline, methods=["POST"]) for path in ("/for_you", "/following", "/score", "/events")]
        return Starlette(
            routes=[
                *ranked,
                Route("/explain", self.explain, methods=["POST"]),
                Route("/ready", self.readiness),
                Route("/release", self.manifest),
                Route("/openapi.json", self.openapi),
            ],
            middleware=[Middleware(BaseHTTPMiddleware, dispatch=self._named)],
        )

    async def _named(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        answer = await call_next(request)
        if self.loading:
            answer.headers["x-mixer-loading"] = "1"
        elif said := self.release if self.says is None else self.says:
            answer.headers["x-mixer-release"] = said
        return answer

    async def timeline(self, request: Request) -> Response:
        asked = await request.json()
        told = {name: request.headers.get(f"x-mixer-{name}") for name in ("shadow", "split", "experiments", "knobs")}
        self.asked.append({**asked, "path": request.url.path, **told})
        self.arrived.set()
        if self.hold:
            await asyncio.to_thread(self.let_go.wait, 20)
        if self.old and told["knobs"]:
            return JSONResponse({"error": {"code": "unknown_knobs"}}, 501)
        answer = timeline_answer(self.release, asked)
        if self.empty:
            answer["posts"] = []
        for post in answer["posts"]:
            post["score"] = post["score"] if self.numbers else None
        return JSONResponse(answer, self.status)

    async def explain(self, request: Request) -> Response:
        asked = await request.json()
        return JSONResponse(
            {"posts": [explanation(post) for post in timeline_answer(self.release, asked)["posts"]]}, self.status
        )

    async def readiness(self, _: Request) -> Response:
        return JSONResponse({"ready": self.ready}, 200 if self.ready else 503)

    async def manifest(self, _: Request) -> Response:
        return JSONResponse({"release_id": self.release})

    async def openapi(self, _: Request) -> Response:
        return JSONResponse(OPENAPI)


def timeline_answer(release: str, asked: dict) -> dict:
    """A page of posts, deterministic in the user."""
    user_id, count = asked.get("user_id", 0), asked.get("count", 5)
    user = int(user_id) if str(user_id).isdigit() else len(user_id)
    sources = ["in_network", "two_tower", "popular"]
    posts = [
        {
            "post_id": 100 * (user % 50) + place,
            "author_id": 7000 + (user + place * 3) % 40,
            "score": round(0.92 - 0.05 * place, 4),
            "position": place,
            "source": sources[(user + place) % 3],
            "reason": "You often finish videos of this author" if place % 2 == 0 else "Many people with your taste liked it",
            "predictions": {"click": 0.62 - 0.03 * place, "video_view": 0.41 - 0.02 * place, "like": 0.072, "follow": 0.004},
        }
        for place in range(count)
    ]
    stages = [("in_network", "source", 0, 180), ("two_tower", "source", 180, 680), ("popular", "source", 680, 1020)]
    stages += [("duplicates", "filter", 1020, 934), ("seen_posts", "filter", 934, 611), ("muted_authors", "filter", 611, 598)]
    stages += [("light_cut", "filter", 598, 300), ("author_cap", "filter", 300, 262), ("top_scores", "selector", 262, count)]
    funnel = [
        {"stage": s, "kind": k, "before": b, "after": a, "removed": max(b - a, 0), "took_ms": 0.4, "failure": ""}
        for s, k, b, a in stages
    ]
    return {
        "request_id": asked.get("request_id") or "q-1",
        "user_id": user_id,
        "product": "for_you",
        "release": release,
        "served_at": "2022-05-03T12:00:00+00:00",
        "posts": posts,
        "funnel": funnel,
        "degraded": [],
        "took_ms": 18.4,
    }


def explanation(post: dict) -> dict:
    """Why a post is shown, in the mixer's shape."""
    weights = {"click": 0.3, "video_view": 0.9, "like": 1.0, "follow": 4.0, "not_interested": -12.0}
    chances = {**post["predictions"], "not_interested": 0.006}
    heads = [
        {"head": head, "probability": chances[head], "weight": weight, "contribution": round(chances[head] * weight, 4)}
        for head, weight in weights.items()
    ]
    return {"post_id": post["post_id"], "outcome": "selected", "why": [f"proposed by {post['source']}"], "heads": heads}


OPENAPI = {
    "openapi": "3.1.0",
    "paths": {
        "/for_you": {
            "post": {
                "summary": "A page of the For You timeline",
                "description": "Posts for a user, best first.",
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/TimelineRequest"}}}},
            }
        }
    },
    "components": {
        "schemas": {
            "TimelineRequest": {
                "required": ["user_id"],
                "examples": [{"user_id": 7, "count": 20}],
                "properties": {
                    "user_id": {"type": "integer", "description": "Any id."},
                    "count": {"type": "integer", "description": "Posts wanted, 1 to 200."},
                },
            }
        }
    },
}


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve `app` with uvicorn on a free port, in a thread with its own loop; yields its URL once it is listening."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        _wait_until_listening(server, thread)
        yield url
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


def _wait_until_listening(server: uvicorn.Server, thread: threading.Thread) -> None:
    pause = threading.Event()
    for _ in range(2_000):
        if server.started:
            return
        if not thread.is_alive():
            break
        pause.wait(0.01)
    raise RuntimeError("the server did not start listening")
