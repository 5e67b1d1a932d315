"""The mixer's API as an ASGI app: timelines, scores, explanations, events, and what operators ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from fastapi import FastAPI, Request
from starlette.responses import Response

from feature_repo.declared_relations import RELATION_OF_ACTION
from infra.full_disk import has_room
from services.intake.delivery import deliver
from services.intake.events import examine
from services.mixer import api_types, errors
from services.mixer.answers import page_at_hand, score_answer, timeline_answer
from services.mixer.errors import ApiError
from services.mixer.explanations import explain_page, explain_post
from services.mixer.json_bodies import JsonBodies
from services.mixer.queries import Audience, at_hand, score_query, timeline_query
from services.mixer.release import BENTO_RELEASE
from services.mixer.request_metrics import RequestMetrics

if TYPE_CHECKING:
    from services.mixer.engine import Result
    from services.mixer.runtime import MixerRuntime

DESCRIPTION = """Timelines and scores of one release. Errors have one shape: `{"error": {"code", "message", "remedy"}}`.
An id is a whole number or text, and answers have ids in the form in which the platform was given them. An unknown user gets
a cold-start timeline; a negative count, a moment out of bounds or a body that is not JSON gets a 4xx."""

_Made = TypeVar("_Made")

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": api_types.ErrorResponse, "description": "The body is not JSON."},
    422: {"model": api_types.ErrorResponse, "description": "A field has a value that it may not have; the message names it."},
    503: {"model": api_types.ErrorResponse, "description": "A part that this answer cannot do without is away."},
}


def create_app(runtime: MixerRuntime | None = None) -> FastAPI:
    """The app. A server that loads the runtime later puts it at `app.state.runtime` before the first request."""
    # FastAPI's interactive pages load scripts from other hosts; the gateway serves a page of its own.
    app = FastAPI(title="Home Mixer", version="1", description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.state.runtime = runtime
    errors.install(app)
    app.add_middleware(JsonBodies)
    app.add_middleware(RequestMetrics, state=app.state)
    for path, endpoint, answer in (
        ("/for_you", for_you, api_types.TimelineResponse),
        ("/following", following, api_types.TimelineResponse),
        ("/score", score, api_types.ScoreResponse),
        ("/explain", explain, api_types.ExplainResponse),
        ("/events", events, api_types.EventsResponse),
    ):
        responses = {200: {"model": answer}, **_ERRORS}
        # The answer is serialised as it is built; validating 20 posts a second time would cost more than some stages.
        app.add_api_route(path, endpoint, methods=["POST"], response_class=Response, responses=responses)
    app.add_api_route("/release", release, methods=["GET"])
    app.add_api_route("/ready", ready, methods=["GET"])
    app.add_api_route("/metrics", metrics, methods=["GET"], include_in_schema=False)
    app.add_route("/{path:path}", nothing_here, methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    return app


async def for_you(request: Request, body: api_types.TimelineRequest) -> Response:
    """The ranked timeline: followed accounts, similar posts, popular posts."""
    return await _timeline(request, "for_you", body)


async def following(request: Request, body: api_types.TimelineRequest) -> Response:
    """The newest posts of followed accounts."""
    return await _timeline(request, "following", body)


async def score(request: Request, body: api_types.ScoreRequest) -> Response:
    """The ranker's probabilities and score for given posts, in the order of the request."""
    runtime: MixerRuntime = request.app.state.runtime
    known = at_hand(runtime, body)
    query = await _made(known, score_query, runtime, body, Audience.of(request.headers))
    result = await runtime.engine.execute(runtime.pipelines["score"], query)
    if result.trace.degraded:
        failed = ", ".join(result.trace.degraded)
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "ranking_unavailable", f"failed: {failed}", "try again in a few seconds")
    return _json(await _made(known, score_answer, runtime, result, body))


async def explain(request: Request, body: api_types.ExplainRequest) -> Response:
    """Why a post is or is not on the timeline: the stage, the rule, the scores by head. `product` may be `following`."""
    runtime: MixerRuntime = request.app.state.runtime
    product = "following" if body.product == "following" else "for_you"
    query = await _made(at_hand(runtime, body), timeline_query, runtime, product, body)
    result = await runtime.engine.execute(runtime.pipelines[product], query, explain=True)
    if body.post_id is None:
        posts = await _made(page_at_hand(runtime, result.page), explain_page, runtime, result)
    else:
        scored = await _scoring_of(runtime, body, result)
        known = runtime.ids.at_hand("post", [body.post_id])
        posts = [await _made(known, explain_post, runtime, result, body.post_id, scored)]
    answer = {
        "request_id": query.request_id,
        "user_id": runtime.ids.as_written("user", body.user_id),
        "product": product,
        "release": runtime.release_id,
        "posts": posts,
        "funnel": [record.as_dict() for record in result.trace.funnel()],
        "ends": result.trace.counts(),
        "degraded": result.trace.degraded,
    }
    return _json(answer)


async def events(request: Request, body: api_types.EventsRequest) -> Response:
    """Things that users did. Accepted means that the broker has them; refused ones go to the dead letters.

    The post's author, and the release and propensity of what was shown, are the platform's own knowledge: `release` and
    `propensity` of an event are ignored, and an `author_id` that is not the post's author is refused.
    """
    runtime: MixerRuntime = request.app.state.runtime
    if runtime.settings.broker_address is None and not has_room(runtime.settings.home):
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "disk_full",
            f"no event was taken: the disk of {runtime.settings.home} is full, and the broker there could not keep it",
            "make room on that disk, and send these events again with the same event ids",
        )
    # In a thread: new ids are allotted their numbers in the database.
    examined = await asyncio.to_thread(examine, body.events, runtime.event_platform(), user_id=body.user_id)
    delivered = await deliver(runtime.producer, examined)
    for event in delivered.events:
        if (kind := RELATION_OF_ACTION.get(event["action"])) is not None:
            runtime.declare(kind, event["user_id"], event["author_id"])
    for outcome, some in (("accepted", delivered.events), ("rejected", delivered.rejected), ("undelivered", delivered.failed)):
        runtime.metrics.events.labels(outcome).inc(len(some))
    runtime.metrics.unmatched.inc(delivered.unmatched)
    if delivered.failed:
        remedy = "send these events again with the same event ids; repeats are recognised, and the others are taken"
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "broker_unavailable", delivered.failure(len(body.events)), remedy)
    rejected = [{"index": refused.index, "reason": refused.reason} for refused in delivered.rejected]
    return _json({"accepted": len(delivered.events), "rejected": rejected})


async def release(request: Request) -> Response:
    """The manifest of the release that answers, and what this process has loaded: model, snapshot, code."""
    runtime: MixerRuntime = request.app.state.runtime
    corpus = runtime.corpus
    loaded = {
        "bundle_version": runtime.bundle.version,
        "snapshot": corpus.version,
        "posts": len(corpus.snapshot),
        "posts_since_snapshot": corpus.snapshot.appended,
        "posts_prepared_for": datetime.fromtimestamp(corpus.posts.moment_us / 1e6, UTC).isoformat(),
        "source": str(BENTO_RELEASE.parent),
        "open_circuits": runtime.caller.open_circuits(),
    }
    return _json({"manifest": runtime.manifest, "loaded": loaded})


async def ready(request: Request) -> Response:
    """200 once real requests have been served well in this process, 503 with the reason before."""
    runtime: MixerRuntime | None = request.app.state.runtime
    reason = "still loading" if runtime is None else runtime.not_ready
    return _json({"ready": reason is None, "reason": reason}, 200 if reason is None else 503)


async def metrics(request: Request) -> Response:
    """Prometheus exposition."""
    runtime: MixerRuntime = request.app.state.runtime
    runtime.metrics.snapshot_age.set(runtime.snapshot_age_s())
    return Response(runtime.metrics.text(), media_type="text/plain; version=0.0.4")


async def nothing_here(request: Request) -> Response:
    """Every other path, so that it is answered in the one error shape."""
    known = sorted(route.path for route in request.app.routes if "POST" in (route.methods or ()) and "{" not in route.path)
    if request.url.path in known:
        message = f"{request.method} is not allowed at {request.url.path}"
        return errors.error_response(405, "method_not_allowed", message, f"POST to {request.url.path}")
    message = f"there is nothing at {request.url.path}"
    return errors.error_response(404, "unknown_path", message, f"POST to one of {', '.join(known)}")


async def _timeline(request: Request, product: str, body: api_types.TimelineRequest) -> Response:
    runtime: MixerRuntime = request.app.state.runtime
    query = await _made(at_hand(runtime, body), timeline_query, runtime, product, body, Audience.of(request.headers))
    result = await runtime.engine.execute(runtime.pipelines[product], query)
    runtime.metrics.observe_timeline(product, result.trace.counts())
    if not query.is_copy:
        runtime.recently_served.add(query.request_id, query.user_id, result.page.post_id)
    return _json(await _made(page_at_hand(runtime, result.page), timeline_answer, runtime, result, body.user_id))


async def _made(at_hand: bool, make: Callable[..., _Made], *arguments: Any) -> _Made:
    """`make(*arguments)`, in a thread where it has to look ids up in the database."""
    return make(*arguments) if at_hand else await asyncio.to_thread(make, *arguments)


async def _scoring_of(runtime: MixerRuntime, body: api_types.ExplainRequest, result: Result) -> Result | None:
    """The post's own scoring, if no source proposed it for a ranked timeline; else None."""
    if result.query.product != "for_you":
        return None
    (post_id,) = await _made(runtime.ids.at_hand("post", [body.post_id]), runtime.ids.known, "post", [body.post_id])
    if post_id in result.trace.proposed.post_id:
        return None
    asked = api_types.ScoreRequest(
        user_id=body.user_id,
        post_ids=[body.post_id],
        product=body.product,
        requested_at=body.requested_at,
        weights=body.weights,
    )
    query = await _made(at_hand(runtime, asked), score_query, runtime, asked)
    return await runtime.engine.execute(runtime.pipelines["score"], query)


def _json(body: dict, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status_code=status, media_type="application/json")
