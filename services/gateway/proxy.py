"""The hot path: read the user's id, pick the arm, pass the request on, pass the answer back.

A canary that is unhealthy, unreachable or answers 5xx does not cost its users their timeline: the live release answers. Where
the live release cannot, the one before it does, which stands by. The header `x-mixer-fallback` names the release that should
have answered and why it did not, so that whoever judges it can count the failure.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import aiohttp
import orjson
from starlette.requests import Request
from starlette.responses import Response

from feature_repo.ids import IdError
from feature_repo.ids.id_texts import id_text
from feature_repo.served_messages import EXPERIMENTS_HEADER, KNOBS_HEADER
from services.gateway.answer_log import AnswerLog, Asked
from services.gateway.arms import Arm, ArmPool, Choice
from services.gateway.bodies import body_of
from services.gateway.errors import DoorError, nothing_live
from services.gateway.fast_path import FastPath
from services.gateway.inquest import LATE, Heard, wrong_with
from services.gateway.metrics import GatewayMetrics, RecentTraffic
from services.gateway.paired_scores import PairedScores
from services.gateway.shadow import Shadow
from services.releases.handover import RELEASE_HEADER, not_itself

PROXIED = ("/for_you", "/following", "/score", "/explain", "/events")
LOADING_HEADER = "x-mixer-loading"  # with which a mixer says that it does not answer yet
PATIENT_S = 15.0  # that the last arm which could answer has for it
IMPATIENT_S = 3.0  # that one has beside which another could answer
UNKNOWN_KNOBS = 501  # what a release answers that can't do what an experiment asks for
UNANSWERED = "unanswered"  # under which the traffic panel counts what no arm answered
NOBODY = "nobody"  # whose a batch of events is in which none names a user: some release has to say so of each
# Asking twice for these changes nothing; an event that may have been taken must not be sent again by us.
_REPEATABLE = frozenset({"/for_you", "/following", "/score", "/explain"})
_PASSED_ON = ("content-type", "x-request-id", "traceparent", "tracestate")


class ArmDown(Exception):
    """The arm gave no answer that counts.

    sent: it may have seen the request; late: it took too long over it; closed: the connection broke.
    """

    def __init__(self, why: str, *, sent: bool, late: bool = False, closed: bool = False) -> None:
        super().__init__(why)
        self.sent, self.late, self.closed = sent, late, closed


@dataclass(frozen=True)
class Answer:
    """What an arm answered."""

    status: int
    body: bytes
    content_type: str
    arm: Arm
    fallback: str | None = None  # "<release>: <reason>" where another release should have answered


@dataclass
class Proxy:
    """Passes requests to arms. One per app."""

    pool: ArmPool
    metrics: GatewayMetrics
    traffic: RecentTraffic
    shadow: Shadow
    fast_path: FastPath
    answers: AnswerLog
    pairs: PairedScores

    async def handle(self, request: Request) -> Response:
        """One request of a client, from body to answer."""
        started, path = time.perf_counter(), request.url.path
        asked, choice = None, Choice()
        try:
            body = await body_of(request)
            asked = asked_of(body)
            choice = self.pool.choose(asked.user)
            headers = {name: value for name in _PASSED_ON if (value := request.headers.get(name)) is not None}
            answer = await self.ask(asked.user, choice, path, body, headers)
        except DoorError as error:
            seconds = time.perf_counter() - started
            self.metrics.requests.labels(path, "none", "none", str(error.status)).inc()
            self.metrics.seconds.labels(path, "none", "none").observe(seconds)
            if error.status >= 500 and asked is not None:  # a client's own mistake is no traffic that was lost
                self.traffic.add(UNANSWERED, error.status, seconds)
                self.answers.note(asked, choice, path, error.status, seconds)
            return error.response()
        arm, release = self.arm_name(answer.arm), answer.arm.release_id
        seconds = time.perf_counter() - started
        self.answers.note(asked, choice, path, answer.status, seconds, release, answer.body)
        self.metrics.requests.labels(path, arm, release, str(answer.status)).inc()
        self.metrics.seconds.labels(path, arm, release).observe(seconds)
        self.traffic.add(arm, answer.status, seconds)
        marks = {"x-mixer-release": release, "x-mixer-arm": arm}
        if answer.fallback is not None:
            marks["x-mixer-fallback"] = answer.fallback
        if answer.status == 200:
            self.shadow.copy(self.pool, path, body, headers, answer.body)
            self.pairs.copy(self.pool, release, path, body, answer.body)
        return Response(answer.body, answer.status, marks, answer.content_type)

    async def ask(self, user_id: str, choice: Choice, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        """The answer of the user's arm, or of the next that can give one. Raises DoorError 502 or 503."""
        if not choice.arms or choice.split is None:
            raise nothing_live()
        headers = {**headers, **choice.headers()}
        heard: dict[str, Heard] = {}
        try:
            return await self._first_of(choice, path, body, headers, heard)
        finally:
            self.fast_path.answered(user_id, path, body, headers, heard)

    async def _first_of(
        self, choice: Choice, path: str, body: bytes, headers: dict[str, str], heard: dict[str, Heard]
    ) -> Answer:
        """As `ask`; `heard` takes what each arm answered."""
        meant, reason = choice.passed_over, "unhealthy"
        for place, arm in enumerate(choice.arms):
            is_last = place + 1 == len(choice.arms)
            try:
                answer = await self._ask_arm(arm, path, body, headers, heard, PATIENT_S if is_last else IMPATIENT_S)
            except ArmDown as error:
                if is_last or (error.sent and path not in _REPEATABLE):
                    raise _no_answer(arm, error) from error
                meant, reason = (meant, reason) if meant else (arm, "gave no answer")
                continue
            # A live release that errs is the judge's business; a canary that errs must not cost its users their timeline.
            if answer.status >= 500 and arm.release_id == self.pool.route.canary and path in _REPEATABLE and not is_last:
                meant, reason = arm, f"answered {answer.status}"
                continue
            if meant is None or meant is arm:
                return answer
            self.metrics.fallbacks.labels(meant.release_id, reason).inc()
            return replace(answer, fallback=f"{meant.release_id}: {reason}")
        raise nothing_live()

    def arm_name(self, arm: Arm) -> str:
        """`canary`, `live` or `standby`; `former` for an arm that the route left while the request was under way."""
        route = self.pool.route
        return {self.pool.standby: "standby", route.canary: "canary", route.live: "live"}.get(arm.release_id, "former")

    async def _ask_arm(
        self, arm: Arm, path: str, body: bytes, headers: dict[str, str], heard: dict[str, Heard], timeout_s: float
    ) -> Answer:
        """The arm's answer within `timeout_s`, noted in `heard`. Raises ArmDown where there is none."""
        started = time.perf_counter()
        try:
            try:
                answer = await self._send(arm, path, body, headers, timeout_s)
            except ArmDown as error:
                if not error.closed or path not in _REPEATABLE:
                    raise
                # A kept connection was closed under us; the second try opens a new one.
                answer = await self._send(arm, path, body, headers, timeout_s)
            if answer.status == UNKNOWN_KNOBS and KNOBS_HEADER in headers:
                # A release that is older than the experiment: its user gets the usual page, and not an error.
                answer = await self._send(arm, path, body, _without_experiments(headers), timeout_s)
        except ArmDown as error:
            if error.late:  # only time-outs count: an arm whose process is gone is the keeper's business
                heard[arm.release_id] = Heard(LATE, time.perf_counter() - started)
            raise
        wrong = wrong_with(answer.status, answer.body, path)
        heard[arm.release_id] = Heard(wrong, time.perf_counter() - started)
        return answer

    async def _send(self, arm: Arm, path: str, body: bytes, headers: dict[str, str], timeout_s: float) -> Answer:
        arm.in_flight += 1
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=1.0)
        try:
            async with self.pool.session.post(arm.url + path, data=body, headers=headers, timeout=timeout) as reply:
                content = await reply.read()
                if LOADING_HEADER in reply.headers:
                    arm.failed(f"{path}: still loading", at_once=True)
                    raise ArmDown("still loading", sent=False)
                said = reply.headers.get(RELEASE_HEADER)
                # An error that names nobody may come from what stands around the release; a page without a name is no arm's.
                if said != arm.release_id and (said is not None or reply.status < 500):
                    arm.failed(f"{path}: {not_itself(said)}", at_once=True)
                    raise ArmDown(not_itself(said), sent=True)
                return Answer(reply.status, content, reply.headers.get("content-type", "application/json"), arm)
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            arm.failed(f"{path}: {error}", at_once=True)
            raise ArmDown(str(error), sent=False) from error
        except TimeoutError as error:
            arm.failed(f"{path}: {LATE}")
            raise ArmDown(LATE, sent=True, late=True) from error
        except aiohttp.ClientError as error:
            arm.failed(f"{path}: {type(error).__name__} {error}")
            raise ArmDown(f"{type(error).__name__} {error}", sent=True, closed=True) from error
        finally:
            arm.in_flight -= 1


def asked_of(body: bytes) -> Asked:
    """Who asks, and for how many posts; raises DoorError 400 where there is no user.

    The user's id is text: 17 and "17" are one user. Of a batch of events it is the first that is an id. A batch in which no
    event has one is NOBODY's: its release rejects each event with the reason.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DoorError(400, "not_json", f"the body is not JSON: {error}", 'send an object such as {"user_id": 17}') from error
    if not isinstance(content, dict):
        remedy = 'send an object such as {"user_id": 17}; of events one such as {"events": [{"user_id": 17, ...}]}'
        raise DoorError(400, "not_an_object", f"the body is a JSON {_kind(content)}, not an object", remedy)
    user_id, events = content.get("user_id"), content.get("events")
    if user_id is None and isinstance(events, list) and events:
        return Asked(next((user for event in events if (user := _user_of_event(event)) is not None), NOBODY))
    try:
        user, count, posts = id_text(user_id, "user_id"), content.get("count"), content.get("post_ids")
        return Asked(user, len(posts) if isinstance(posts, list) else count if isinstance(count, int) else None)
    except IdError as error:
        message = "user_id is missing" if user_id is None else str(error)
        remedy = 'give the user\'s id as a whole number of up to 64 bits or as text: {"user_id": 17}'
        raise DoorError(400, "user_id_invalid", message, remedy) from error


def _user_of_event(event: object) -> str | None:
    try:
        return id_text(event.get("user_id"), "user_id") if isinstance(event, dict) else None
    except IdError:
        return None


def _kind(content: object) -> str:
    return {list: "list", str: "text", bool: "truth value", type(None): "null"}.get(type(content), "number")


def _without_experiments(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in (KNOBS_HEADER, EXPERIMENTS_HEADER)}


def _no_answer(arm: Arm, error: ArmDown | None) -> DoorError:
    return DoorError(
        502,
        "arm_down",
        f"release {arm.release_id} gave no answer ({error})",
        "try again in a second; on call: look at the control room and the release's log",
        {"retry-after": "1", "x-mixer-release": arm.release_id},
    )
