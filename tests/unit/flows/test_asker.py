"""An arm that sheds requests for a moment does not stop a replay, and one that goes on doing so costs the visit alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from feature_repo.feature_rows import HEADS
from feature_repo.ids import IdTable, RememberedIds
from flows.traffic import asker
from flows.traffic.asker import Answer, Asker
from flows.traffic.outcomes import ReferenceRates
from flows.traffic.visits import Visit

LIVE = "http://live.test"


def arm(release: str, failures: int, status: int = 503, bodies: list[dict] | None = None) -> Starlette:
    """A mixer that answers /score with `status` for the first `failures` requests; notes what it was asked in `bodies`."""
    asked = []

    async def score(request: Request) -> JSONResponse:
        asked.append(1)
        if len(asked) <= failures:
            return JSONResponse({"error": {"code": "away"}}, status, headers={"x-mixer-release": release})
        content = await request.json()
        if bodies is not None:
            bodies.append(content)
        predictions = dict.fromkeys(HEADS, 0.25)
        rows = [{"post_id": post, "score": 1.0, "predictions": predictions, "known": True} for post in content["post_ids"]]
        return JSONResponse({"release": release, "scores": rows}, headers={"x-mixer-release": release})

    return Starlette(routes=[Route("/score", score, methods=["POST"])])


def ask(monkeypatch, live: Starlette, url: str, user: int = 1, post: int = 10) -> Answer:
    monkeypatch.setattr(asker, "REFERENCE_WAIT_S", 0.001)
    noon = datetime(2022, 5, 2, 12, tzinfo=UTC)
    rates = ReferenceRates(HEADS[:2], np.array([post]), np.array([[0.3, 0.2]]), np.array([0.1, 0.1]))
    visit = Visit(
        user_id=user,
        product="tab_1",
        at_us=int(noon.timestamp() * 1e6),
        post_ids=np.array([post]),
        labels=np.zeros((1, len(HEADS)), np.uint8),
        request_id="v1",
    )

    async def run() -> Answer:
        transports = {"http://door.test": arm("r2", 0), LIVE: live}
        mounts = {address: httpx.ASGITransport(app) for address, app in transports.items()}
        async with httpx.AsyncClient(base_url="http://door.test", mounts=mounts) as client:
            return await Asker(client, rates, RememberedIds(url), "r1", LIVE).ask(visit, with_timeline=False)

    return asyncio.run(run())


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'platform.db'}"


def test_a_visit_is_asked_for_by_the_ids_of_its_owner_and_counted_by_their_numbers(monkeypatch, url):
    ids = IdTable(url)
    user, post = ids.number_of("user", "ada"), ids.number_of("post", "p/1")
    ids.set_form("user", "text")
    bodies: list[dict] = []
    answer = ask(monkeypatch, arm("r1", failures=0, bodies=bodies), url, user, post)
    assert [(body["user_id"], body["post_ids"]) for body in bodies] == [("ada", ["p/1"])]
    assert (answer.evidence.user_id, answer.evidence.release_id) == (user, "r2")


def test_a_reference_that_comes_at_a_later_try_is_taken(monkeypatch, url):
    answer = ask(monkeypatch, arm("r1", failures=asker.REFERENCE_TRIES - 1), url)
    assert answer.evidence is not None
    assert answer.evidence.release_id == "r2"
    assert answer.evidence.log_loss == answer.evidence.reference_log_loss


def test_a_visit_without_a_reference_counts_for_neither_arm(monkeypatch, url):
    assert ask(monkeypatch, arm("r1", failures=asker.REFERENCE_TRIES), url).evidence is None


def test_a_request_that_the_live_arm_refuses_stops_the_replay(monkeypatch, url):
    with pytest.raises(httpx.HTTPStatusError, match="422"):
        ask(monkeypatch, arm("r1", failures=1, status=422), url)


def test_an_own_action_is_judged_by_its_own_name_and_a_head_that_was_not_trained_by_its_rate():
    rates = ReferenceRates(("own_1", "click"), np.array([10]), np.array([[0.3, 0.2]]), np.array([0.1, 0.15]))
    visit = Visit("v1", 1, "home", 0, np.array([10, 11]), np.zeros((2, len(HEADS)), np.uint8))
    known = {"post_id": 10, "known": True, "score": 2.0, "predictions": {"play": 0.6}}
    unknown = {"post_id": 11, "known": False, "score": None, "predictions": None}
    probabilities, scores = asker.predictions_of(visit, {"scores": [known, unknown]}, rates, ("play", "click"))
    assert probabilities.tolist() == [[0.6, 0.15], [0.1, 0.15]]
    assert scores.tolist() == [2.0, -np.inf]
