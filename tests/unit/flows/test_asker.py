"""A visit is asked for as any client would, and what came back is told by the release that the user belongs to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from feature_repo.ids import IdTable, RememberedIds
from flows.demo.traffic.asker import Answer, Asker, ReplayFailed
from flows.demo.traffic.visits import Visit

NOON = datetime(2022, 5, 2, 12, tzinfo=UTC)


def door(bodies: list[dict], status: int = 200, timeline_status: int = 200, **headers: str) -> Starlette:
    """A door that notes what it was asked in `bodies`."""

    async def answer(request: Request) -> Response:
        bodies.append(await request.json())
        code = status if request.url.path == "/score" else timeline_status
        error = {"error": {"message": "away", "remedy": "wait"}}
        return JSONResponse({} if code == 200 else error, code, headers={"x-mixer-release": "r1", **headers})

    return Starlette(routes=[Route(path, answer, methods=["POST"]) for path in ("/score", "/for_you")])


def ask(app: Starlette, url: str, user: int = 1, posts: tuple[int, ...] = (10,), *, timeline: bool = False) -> Answer:
    visit = Visit("v1", user, "tab_1", int(NOON.timestamp() * 1e6), np.array(posts))

    async def run() -> Answer:
        async with httpx.AsyncClient(base_url="http://door.test", transport=httpx.ASGITransport(app)) as client:
            return await Asker(client, RememberedIds(url)).ask(visit, with_timeline=timeline)

    return asyncio.run(run())


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'platform.db'}"


def test_a_visit_is_asked_for_by_the_ids_of_its_owner_each_post_once(url):
    ids = IdTable(url)
    user, post = ids.number_of("user", "ada"), ids.number_of("post", "p/1")
    ids.set_form("user", "text")
    bodies: list[dict] = []
    answer = ask(door(bodies), url, user, (post, post))
    assert [(body["user_id"], body["post_ids"], body["requested_at"]) for body in bodies] == [
        ("ada", ["p/1"], "2022-05-02T12:00:00+00:00")
    ]
    assert (answer.release, answer.said, answer.timeline) == ("r1", None, False)


def test_a_visit_that_another_release_answered_counts_for_its_own_as_an_error(url):
    answer = ask(door([], **{"x-mixer-fallback": "r2: answered 500"}), url, timeline=True)
    assert (answer.release, answer.said, answer.timeline) == ("r2", "r2: answered 500", False)


def test_an_error_is_told_in_its_own_words(url):
    assert ask(door([], status=503), url).said == "503 at /score: away; wait"
    assert ask(door([], timeline_status=503), url, timeline=True).said == "503 at /for_you: away; wait"


def test_an_answer_that_no_release_gave_ends_the_replay(url):
    async def nobody(request: Request) -> Response:
        return Response("no such place", 404)

    with pytest.raises(ReplayFailed, match="404 without a release: no such place"):
        ask(Starlette(routes=[Route("/score", nobody, methods=["POST"])]), url)
