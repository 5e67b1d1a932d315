"""Real requests before the first client's: caches filled, lazy imports done, and proof that the release can serve."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING

from feature_repo.lake import Lake
from services.mixer.api_types import ScoreRequest, TimelineRequest
from services.mixer.breaker import COOL_DOWN_S
from services.mixer.queries import score_query, timeline_query

if TYPE_CHECKING:
    from services.mixer.runtime import MixerRuntime

logger = logging.getLogger(__name__)

ROUNDS = 5  # first calls may overrun their deadlines; a release that has not served cleanly after these is not ready
USERS = 3
NOBODY = "home-mixer/nobody"  # a user id that no dataset uses: the cold-start path is part of the warm-up
COUNT = 20
SCORED = 5


async def warm_up(runtime: MixerRuntime, pause_s: float = COOL_DOWN_S) -> bool:
    """Serve until a round goes without a failed component; sets `runtime.not_ready` and returns whether it is ready."""
    known = Lake(runtime.settings.paths.lake).read("users")["user_id"].head(USERS).to_numpy()
    users = [*runtime.ids.shown("user", known), NOBODY]
    seen: set[str] = set()
    for _ in range(ROUNDS):
        problems = [problem for user in users for problem in await _serve(runtime, user)]
        if problems:
            seen.update(problems)
            await asyncio.sleep(pause_s)  # circuits that cold components opened close again
        else:
            # Feast's read path makes many short-lived objects: freezing what is loaded keeps full collections short.
            gc.collect()
            gc.freeze()
            runtime.not_ready = None
            return True
    runtime.not_ready = f"warm-up requests went wrong: {'; '.join(sorted(seen))}"
    logger.error("release %s is not ready: %s", runtime.release_id, runtime.not_ready)
    return False


async def _serve(runtime: MixerRuntime, user_id: str | int) -> list[str]:
    """One timeline and one scoring without side effects; returns what went wrong, in words."""
    asked = TimelineRequest(user_id=user_id, count=COUNT)
    posts = runtime.ids.shown("post", runtime.corpus.snapshot.post_id[:SCORED])
    timeline = await runtime.engine.execute(
        runtime.pipelines["for_you"], timeline_query(runtime, "for_you", asked), explain=True
    )
    scored = await runtime.engine.execute(
        runtime.pipelines["score"], score_query(runtime, ScoreRequest(user_id=user_id, post_ids=posts)), explain=True
    )
    problems = [
        f"{record.stage}: {record.failure}" for result in (timeline, scored) for record in result.trace.stages if record.failure
    ]
    return problems if len(timeline.page) else [*problems, f"user {user_id} gets an empty timeline"]
