"""From an API request to a query of the pipeline."""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from services.mixer.api_types import RankingRequest, ScoreRequest, TimelineRequest
from services.mixer.query import Query

if TYPE_CHECKING:
    from services.mixer.runtime import MixerRuntime


def timeline_query(runtime: MixerRuntime, product: str, request: TimelineRequest) -> Query:
    """Ask for a page of `product`; the surface that the ranker sees is the request's, else the product itself."""
    return _query(runtime, product, request, request.count, seen_ids=np.array(request.seen_post_ids, np.int64))


def score_query(runtime: MixerRuntime, request: ScoreRequest) -> Query:
    """Ask for the scores of the request's posts, each once."""
    given = np.unique(np.array(request.post_ids, np.int64))
    return _query(runtime, "score", request, len(given), features={"given_posts": given})


def _query(runtime: MixerRuntime, product: str, request: RankingRequest, count: int, **more) -> Query:
    return Query(
        request_id=request.request_id or uuid.uuid4().hex,
        user_id=request.user_id,
        product=product,
        surface=request.product or ("for_you" if product == "score" else product),
        count=count,
        now_us=microseconds(request.requested_at),
        corpus=runtime.corpus,
        preset=request.weights or runtime.default_preset,
        **more,
    )


def microseconds(moment: datetime | None) -> int:
    """UTC microseconds of `moment`, of now when None."""
    return time.time_ns() // 1000 if moment is None else round(moment.timestamp() * 1e6)
