"""Asks the gateway what it would show in a visit, and turns the answer into evidence for the judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np

from feature_repo.ids import RememberedIds
from feature_repo.ids.own_actions import with_own_names
from flows.traffic.outcomes import ReferenceRates, log_losses, visit_ndcg
from flows.traffic.visits import Visit
from monitoring.canary.visits import VisitEvidence

REFERENCE_TRIES = 6  # the live arm sheds requests while it is overloaded; a reference is worth waiting for
REFERENCE_WAIT_S = 0.1  # before the second try; doubles with every further one


class ReplayFailed(RuntimeError):
    """The replay can't go on; the message says what did not answer."""


@dataclass(frozen=True)
class Answer:
    """One visit's evidence, whether a whole timeline was asked for too, and of an error what was said.

    No evidence: the live arm gave no reference, so the visit counts for neither arm.
    """

    evidence: VisitEvidence | None
    timeline: bool
    said: str | None = None


class Asker:
    """Asks through the gateway. A canary's visits are scored by the live arm too, as the judge's reference.

    The reference is one fixed predictor for both arms: for users of the live release its loss is their own, for users
    of the canary that of the live release on the same rows. The judge then compares pairs, and needs far fewer users.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        rates: ReferenceRates,
        ids: RememberedIds,
        live: str | None,
        live_address: str | None,
    ) -> None:
        self.client = client
        self.ids = ids
        self.rates = rates
        self.called = tuple(with_own_names(head, ids.own_actions) for head in rates.heads)  # as answers name them
        self.live = live
        self.live_address = live_address

    async def ask(self, visit: Visit, *, with_timeline: bool) -> Answer:
        """POST /score with the visit's posts, and POST /for_you where `with_timeline`."""
        body = self._body(visit)
        started = time.perf_counter()
        response = await self.client.post("/score", json=body)
        latency_ms = (time.perf_counter() - started) * 1000
        release = response.headers.get("x-mixer-release")
        if release is None:
            raise ReplayFailed(f"the gateway answered {response.status_code} without a release: {response.text[:300]}")
        fallback = response.headers.get("x-mixer-fallback")
        if fallback is not None:
            # The live release answered for a canary that failed. The failure is the canary's evidence; the answer is
            # nobody's, since a user who counted for both arms would be left out of the comparison.
            return Answer(_failure(visit, fallback.partition(":")[0], latency_ms), timeline=False, said=fallback)
        if response.status_code != 200:
            return Answer(_failure(visit, release, latency_ms), timeline=False, said=words(response))
        scored = predictions_of(visit, response.json(), self.rates, self.called)
        reference = scored[0] if release == self.live else await self._reference(visit, body)
        if reference is None:
            return Answer(None, timeline=False)
        timeline = await self._timeline(visit, body) if with_timeline else None
        evidence = _evidence(visit, release, latency_ms, scored, reference, timeline, self.rates.heads)
        said = words(timeline) if timeline is not None and evidence.error else None
        return Answer(evidence, timeline=with_timeline, said=said)

    async def _reference(self, visit: Visit, body: dict[str, Any]) -> np.ndarray | None:
        """The live arm's probabilities for the visit's posts, None where it will not answer.

        Where there is no live arm, the posts' own rates. Raises httpx.HTTPStatusError where the request itself is refused.
        """
        if self.live_address is None:
            return self.rates.of(visit.post_ids)
        request = {**body, "request_id": f"{visit.request_id}-reference"}
        for tried in range(REFERENCE_TRIES):
            if tried:
                await asyncio.sleep(REFERENCE_WAIT_S * 2 ** (tried - 1))
            response = await self.client.post(f"{self.live_address}/score", json=request)
            if response.status_code < 500:
                return predictions_of(visit, response.raise_for_status().json(), self.rates, self.called)[0]
        return None

    async def _timeline(self, visit: Visit, body: dict[str, Any]) -> httpx.Response:
        request = {"user_id": body["user_id"], "count": 20, "requested_at": body["requested_at"]}
        return await self.client.post("/for_you", json={**request, "request_id": f"{visit.request_id}-timeline"})

    def _body(self, visit: Visit) -> dict[str, Any]:
        """The visit as a client asks for it: ids as their owner writes them."""
        return {
            "user_id": self.ids.shown("user", np.array([visit.user_id]))[0],
            "post_ids": self.ids.shown("post", _distinct(visit.post_ids)),
            "product": visit.product,
            "requested_at": datetime.fromtimestamp(visit.at_us / 1e6, UTC).isoformat(),
            "request_id": visit.request_id,
        }


def words(response: httpx.Response) -> str:
    """An error as people read it: the status and the message of the API's error shape, or the beginning of the body."""
    try:
        error = response.json()["error"]
        text = f"{error['message']}; {error['remedy']}"
    except (ValueError, KeyError, TypeError):
        text = response.text[:300]
    return f"{response.status_code} at {response.request.url.path}: {text}"


def _distinct(post_ids: np.ndarray) -> np.ndarray:
    """Each post once, in the order of the first places."""
    return np.array(list(dict.fromkeys(post_ids.tolist())), np.int64)


def predictions_of(
    visit: Visit, content: dict[str, Any], rates: ReferenceRates, called: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, len(rates.heads)) and scores (n,) of the visit's posts, in their order; `called` names the heads.

    A post that the mixer does not know has no prediction: it is judged by the global rates, and ranked last. A head that the
    release was not trained for is judged by the global rate too.
    """
    scored = dict(zip(_distinct(visit.post_ids).tolist(), content["scores"], strict=True))
    probabilities = rates.of(np.full(len(visit.post_ids), -1)).copy()
    scores = np.full(len(visit.post_ids), -np.inf)
    for place, post in enumerate(visit.post_ids.tolist()):
        row = scored[post]
        if row["known"]:
            probabilities[place] = [row["predictions"].get(name, rates.prior[head]) for head, name in enumerate(called)]
            scores[place] = row["score"]
    return probabilities, scores


def _evidence(
    visit: Visit,
    release: str,
    latency_ms: float,
    scored: tuple[np.ndarray, np.ndarray],
    reference: np.ndarray,
    timeline: httpx.Response | None,
    heads: Sequence[str],
) -> VisitEvidence:
    probabilities, scores = scored
    posts = timeline.json().get("posts", []) if timeline is not None and timeline.status_code == 200 else None
    return VisitEvidence(
        release_id=release,
        user_id=visit.user_id,
        request_id=visit.request_id,
        at_us=visit.at_us,
        rows=len(visit.post_ids),
        log_loss=log_losses(visit, probabilities, heads),
        reference_log_loss=log_losses(visit, reference, heads),
        ndcg=visit_ndcg(visit, scores, heads),
        reference_ndcg=visit_ndcg(visit, reference.sum(axis=1), heads),
        latency_ms=latency_ms,
        error=timeline is not None and timeline.status_code != 200,
        empty=posts is not None and not posts,
        distinct_author_share=len({post["author_id"] for post in posts}) / len(posts) if posts else None,
    )


def _failure(visit: Visit, release: str, latency_ms: float) -> VisitEvidence:
    return VisitEvidence(release, visit.user_id, visit.request_id, visit.at_us, rows=0, latency_ms=latency_ms, error=True)
