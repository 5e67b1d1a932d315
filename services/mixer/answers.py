"""From a pipeline's result to the API's response, as plain dicts that serialise as they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from services.mixer.api_types import ScoreRequest
from services.mixer.candidates import Candidates
from services.mixer.engine import Result
from services.mixer.reasons import reasons
from services.mixer.shown_heads import ShownHeads

if TYPE_CHECKING:
    from services.mixer.runtime import MixerRuntime


def page_at_hand(runtime: MixerRuntime, page: Candidates) -> bool:
    """Whether the page's ids can be shown without a look into the database. Where not, make its answer in a thread."""
    return runtime.ids.shown_at_hand("post", page.post_id) and runtime.ids.shown_at_hand("author", page.author_id)


def timeline_answer(runtime: MixerRuntime, result: Result, user_id: str | int) -> dict:
    """The body of TimelineResponse; `user_id` as the request gave it."""
    query, page = result.query, result.page
    why = reasons(query, page, runtime.graph, runtime.shown_heads)
    post_ids, author_ids = runtime.ids.shown("post", page.post_id), runtime.ids.shown("author", page.author_id)
    posts = [
        {
            "post_id": post_ids[row],
            "author_id": author_ids[row],
            "score": float(page["score"][row]),
            "position": row,
            "source": page.source_names[page.source[row]],
            "reason": why[row],
            "predictions": predictions,
        }
        for row, predictions in enumerate(predictions_by_head(page, runtime.shown_heads))
    ]
    return {
        "request_id": query.request_id,
        "user_id": runtime.ids.as_written("user", user_id),
        "product": query.product,
        "release": runtime.release_id,
        "served_at": datetime.fromtimestamp(query.now_us / 1e6, UTC).isoformat(),
        "posts": posts,
        "funnel": [record.as_dict() for record in result.trace.funnel()],
        "degraded": result.trace.degraded,
        "took_ms": round(result.took_ms, 3),
    }


def score_answer(runtime: MixerRuntime, result: Result, request: ScoreRequest) -> dict:
    """The body of ScoreResponse: one entry for each of the request's posts, in that order."""
    page = result.page
    row_of = {int(post): row for row, post in enumerate(page.post_id)}
    predictions = predictions_by_head(page, runtime.shown_heads)
    unknown = {"known": False, "score": None, "predictions": None}
    numbers = runtime.ids.known("post", request.post_ids).tolist()
    shown = [runtime.ids.as_written("post", post) for post in request.post_ids]
    scores = [
        {"post_id": post, "known": True, "score": float(page["score"][row]), "predictions": predictions[row]}
        if (row := row_of.get(number)) is not None
        else {"post_id": post, **unknown}
        for post, number in zip(shown, numbers, strict=True)
    ]
    return {
        "request_id": result.query.request_id,
        "user_id": runtime.ids.as_written("user", request.user_id),
        "release": runtime.release_id,
        "scores": scores,
        "took_ms": round(result.took_ms, 3),
    }


def predictions_by_head(candidates: Candidates, heads: ShownHeads) -> list[dict[str, float]]:
    """For each candidate the probabilities of the shown heads; empty dicts where no heavy ranker ran."""
    if "predictions" not in candidates.columns:
        return [{} for _ in range(len(candidates))]
    return heads.by_name(candidates["predictions"])
