"""From an API request to a query of the pipeline: ids as numbers, the moment in microseconds."""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import numpy as np

from feature_repo.event_times import LATEST
from feature_repo.served_messages import Split
from feature_repo.surfaces import DEFAULT_SURFACE
from services.mixer.api_types import RankingRequest, ScoreRequest, TimelineRequest
from services.mixer.corpus import Corpus
from services.mixer.errors import ApiError
from services.mixer.query import Query
from services.ranking.weights import PRESETS, WeightPreset, preset_named

if TYPE_CHECKING:
    from services.mixer.runtime import MixerRuntime


def at_hand(runtime: MixerRuntime, request: TimelineRequest | ScoreRequest) -> bool:
    """Whether the request's query can be made without a look into the database. Where not, make it in a thread."""
    posts = request.post_ids if isinstance(request, ScoreRequest) else request.seen_post_ids
    return runtime.ids.at_hand("user", [request.user_id]) and runtime.ids.at_hand("post", posts)


def timeline_query(
    runtime: MixerRuntime, product: str, request: TimelineRequest, is_copy: bool = False, split: Split | None = None
) -> Query:
    """Ask for a page of `product`; the surface that the ranker sees is the request's, else the product itself.

    is_copy: another release answers the user; this page is only compared. split: what the door said of the request.
    Raises ApiError for a moment out of bounds.
    """
    seen = runtime.ids.known("post", request.seen_post_ids)
    return _query(runtime, product, request, request.count, seen_ids=seen, is_copy=is_copy, split=split)


def score_query(runtime: MixerRuntime, request: ScoreRequest, is_copy: bool = False, split: Split | None = None) -> Query:
    """Ask for the scores of the request's posts, each once; `is_copy` and `split` as for `timeline_query`.

    Raises ApiError for a moment out of bounds.
    """
    given = np.unique(runtime.ids.known("post", request.post_ids))
    return _query(runtime, "score", request, len(given), features={"given_posts": given}, is_copy=is_copy, split=split)


def _query(runtime: MixerRuntime, product: str, request: RankingRequest, count: int, **more) -> Query:
    corpus = runtime.corpus
    preset = preset_named(request.weights or runtime.default_preset).learned(runtime.bundle.trained_heads)
    if product != "following":  # which is not ranked
        _refuse_idle_weights(runtime, preset)
    return Query(
        request_id=request.request_id or uuid.uuid4().hex,
        user_id=int(runtime.ids.known("user", [request.user_id])[0]),
        product=product,
        surface=request.product or (DEFAULT_SURFACE if product == "score" else product),
        count=count,
        now_us=_moment_of_use(request.requested_at, corpus),
        corpus=corpus,
        preset=preset,
        **more,
    )


def _refuse_idle_weights(runtime: MixerRuntime, preset: WeightPreset) -> None:
    """Raise ApiError where `preset` weighs nothing that the release predicts: all posts would have one score."""
    trained = runtime.bundle.trained_heads
    if preset.weighs_any(trained):
        return
    own = {head: name for name, head in runtime.ids.own_actions.items()}
    learned = ", ".join(own.get(head, head) for head in trained) or "none"
    useful = [name for name, one in PRESETS.items() if one.learned(trained).weighs_any(trained)]
    raise ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "weights_of_nothing_learned",
        f"weights: preset {preset.name!r} weighs none of the actions that this release learned to predict: {learned}",
        f"choose one of {', '.join(useful)}" if useful else "train on a log with more actions",
    )


def _moment_of_use(requested_at: datetime | None, corpus: Corpus) -> int:
    """UTC microseconds of `requested_at`, of now when None; ApiError where nothing can have been shown then."""
    if requested_at is None:
        return time.time_ns() // 1000
    earliest = corpus.first_post
    # Compared as they stand: a moment at the end of the calendar has no other form in UTC.
    if not earliest <= requested_at < LATEST:
        bounds = f"{earliest.isoformat()} (the first post) or later, and before {LATEST.isoformat()}"
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "moment_out_of_bounds",
            f"requested_at: {requested_at.isoformat()} is out of bounds",
            f"give a moment that is {bounds}, or leave requested_at out for now",
        )
    return round(requested_at.timestamp() * 1e6)
