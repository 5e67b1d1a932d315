"""From an API request to a query of the pipeline: ids as numbers, the moment in microseconds."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import numpy as np
import orjson

from feature_repo.event_times import LATEST
from feature_repo.served_messages import COPY_HEADER, EXPERIMENTS_HEADER, KNOBS_HEADER, SPLIT_HEADER, Split
from feature_repo.surfaces import DEFAULT_SURFACE
from services.mixer.api_types import RankingRequest, ScoreRequest, TimelineRequest
from services.mixer.corpus import Corpus
from services.mixer.errors import ApiError
from services.mixer.knobs import USUAL, KnobError, Knobs, knobs_of
from services.mixer.query import Query
from services.ranking.weights import PRESETS, WeightPreset

if TYPE_CHECKING:
    from services.mixer.runtime import MixerRuntime


def at_hand(runtime: MixerRuntime, request: TimelineRequest | ScoreRequest) -> bool:
    """Whether the request's query can be made without a look into the database. Where not, make it in a thread."""
    posts = request.post_ids if isinstance(request, ScoreRequest) else request.seen_post_ids
    return runtime.ids.at_hand("user", [request.user_id]) and runtime.ids.at_hand("post", posts)


@dataclass(frozen=True)
class Audience:
    """Who sees an answer. is_copy: nobody, since another release answers the user. split: what the door said of the request.

    knobs, experiments: what the user's experiments turn, and the user's arm in each.
    """

    is_copy: bool = False
    split: Split | None = None
    knobs: Knobs = USUAL
    experiments: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(headers: Mapping[str, str]) -> Audience:
        """Who the door says sees the answer; raises ApiError for headers that no door of ours sends."""
        try:
            return Audience(
                COPY_HEADER in headers,
                Split.from_header(headers.get(SPLIT_HEADER)),
                knobs_of(orjson.loads(headers[KNOBS_HEADER])) if KNOBS_HEADER in headers else USUAL,
                orjson.loads(headers[EXPERIMENTS_HEADER]) if EXPERIMENTS_HEADER in headers else {},
            )
        except (orjson.JSONDecodeError, KnobError) as error:
            # The door asks again without it: a release may be older than an experiment.
            remedy = "stop the experiment, or wait until every release knows the knob"
            raise ApiError(HTTPStatus.NOT_IMPLEMENTED, "unknown_knobs", str(error), remedy) from error


EVERYBODY = Audience()


def timeline_query(runtime: MixerRuntime, product: str, request: TimelineRequest, audience: Audience = EVERYBODY) -> Query:
    """Ask for a page of `product`; the surface that the ranker sees is the request's, else the product itself.

    Raises ApiError for a moment out of bounds.
    """
    seen = runtime.ids.known("post", request.seen_post_ids)
    return _query(runtime, product, request, request.count, audience, seen_ids=seen)


def score_query(runtime: MixerRuntime, request: ScoreRequest, audience: Audience = EVERYBODY) -> Query:
    """Ask for the scores of the request's posts, each once. Raises ApiError for a moment out of bounds."""
    given = np.unique(runtime.ids.known("post", request.post_ids))
    return _query(runtime, "score", request, len(given), audience, features={"given_posts": given})


def _query(runtime: MixerRuntime, product: str, request: RankingRequest, count: int, audience: Audience, **more) -> Query:
    corpus = runtime.corpus
    preset = audience.knobs.preset(request.weights, runtime.default_preset).learned(runtime.bundle.trained_heads)
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
        is_copy=audience.is_copy,
        split=audience.split,
        knobs=audience.knobs,
        experiments=audience.experiments,
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
