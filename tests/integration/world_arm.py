"""A small release process that serves posts of the simulated world and takes events as intake does; it can fail in turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from feature_repo.ids import RememberedIds
from infra.settings import Settings
from services.intake.events import Platform, examine
from services.mixer.api_types import TimelineRequest


@dataclass
class WorldArm:
    """One release. fails: every so many-th page is a 500, 0 = none. Bodies are checked as the mixer checks them."""

    release: str
    settings: Settings
    fails: int = 0
    follows: bool = True  # whether its Following timeline has posts
    asked: list[dict] = field(default_factory=list)
    pages: dict[str, tuple[int, list[int]]] = field(default_factory=dict)
    events: list[dict] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                *(Route(path, self.timeline, methods=["POST"]) for path in ("/for_you", "/following")),
                Route("/events", self.take, methods=["POST"]),
                Route("/ready", self.readiness),
                Route("/release", self.manifest),
            ],
            middleware=[Middleware(BaseHTTPMiddleware, dispatch=self._named)],
        )

    async def _named(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        answer = await call_next(request)
        answer.headers["x-mixer-release"] = self.release
        return answer

    async def timeline(self, request: Request) -> Response:
        asked = TimelineRequest.model_validate(await request.json())
        self.asked.append({**asked.model_dump(), "path": request.url.path})
        if self.fails and len(self.asked) % self.fails == 0:
            return JSONResponse({"error": {"code": "broken", "message": "planted", "remedy": "none"}}, 500)
        draws = np.random.default_rng([asked.user_id, len(self.asked)])
        posts = [post for post in draws.permutation(self.settings.world_posts).tolist() if post not in asked.seen_post_ids]
        page = posts[: asked.count] if self.follows or request.url.path == "/for_you" else []
        self.pages[asked.request_id] = (asked.user_id, page)
        return JSONResponse({"posts": [{"post_id": post} for post in page]})

    async def take(self, request: Request) -> Response:
        sent = await request.json()
        platform = Platform(RememberedIds(self.settings.platform_database_url), author_of=lambda post: 1)
        examined = examine(sent["events"], platform, user_id=sent["user_id"], now=datetime.now(UTC))
        self.events += examined.accepted
        self.refused += [one.reason for one in examined.rejected]
        rejected = [{"index": one.index, "reason": one.reason} for one in examined.rejected]
        return JSONResponse({"accepted": len(examined.accepted), "rejected": rejected})

    async def readiness(self, _: Request) -> Response:
        return JSONResponse({"ready": True})

    async def manifest(self, _: Request) -> Response:
        return JSONResponse({"release_id": self.release})
