"""What a release manager may do, and see, through the API. All of it needs a token."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.auth import bearer
from services.gateway.bodies import body_of
from services.gateway.door import Door
from services.gateway.errors import DoorError
from services.releases.approvals import ApprovalError, NothingPending
from services.releases.decisions import ACTIONS, decide
from services.releases.ledger import UnknownRelease
from services.releases.published_heads import PublishedHeads
from services.releases.rollouts import NotSubmitted
from services.releases.states import TransitionError


def carry_out(door: Door, release_id: str, action: str, actor: str, reason: str) -> dict[str, Any]:
    """A person's decision (see services.releases.decisions); raises DoorError 404, 409 or 422. Blocks on the database."""
    try:
        settings = door.settings
        return decide(settings.platform_database_url, release_id, action, actor, reason, four_eyes=settings.four_eyes)
    except UnknownRelease as error:
        raise DoorError(404, "unknown_release", str(error), "see the control room for the releases there are") from error
    except (NothingPending, NotSubmitted, TransitionError) as error:
        raise DoorError(409, "not_possible_now", str(error), "see the release's state in the control room") from error
    except ApprovalError as error:
        raise DoorError(422, "who_and_why", str(error), 'send {"actor": "your name", "reason": "why"}') from error


async def act(request: Request) -> Response:
    """POST /admin/releases/{release_id}/{action} with {"actor", "reason"}; of a person's own token the actor is that person."""
    door: Door = request.app.state.door
    release_id, action = request.path_params["release_id"], request.path_params["action"]
    try:
        if "\0" in release_id:
            raise DoorError(404, "unknown_release", "no release has a NUL character in its name", "see the control room")
        if action not in ACTIONS:
            raise DoorError(404, "unknown_action", f"no action {action[:40]!r}", f"use one of {', '.join(ACTIONS)}")
        token = bearer(request.headers.get("authorization"))
        what = f"{action} {release_id}"
        person = await asyncio.to_thread(door.gatekeeper.let_in, token, action, what)
        claimed, reason = _who_and_why(await body_of(request))
        done = await asyncio.to_thread(carry_out, door, release_id, action, person or claimed, reason)
        await door.pool.refresh()
        return JSONResponse(done)
    except DoorError as error:
        return error.response()


async def state(request: Request) -> Response:
    """GET /admin/state: route, arms, releases, open questions, and whether the ledger is whole."""
    door: Door = request.app.state.door
    try:
        token = bearer(request.headers.get("authorization"))
        await asyncio.to_thread(door.gatekeeper.let_in, token, "state", "state of releases")
    except DoorError as error:
        return error.response()
    await door.pool.refresh()
    return JSONResponse(await asyncio.to_thread(_state, door))


def _state(door: Door) -> dict[str, Any]:
    return {
        "route": asdict(door.pool.route),
        "arms": {name: asdict(arm) for name, arm in door.pool.arms.items()},
        "releases": [
            {
                "release_id": release.release_id,
                "state": release.state,
                "percent": release.entry.percent,
                "since": release.entry.at,
            }
            for release in door.ledger.releases()
        ],
        "rollouts": [
            {"release_id": row.release_id, "ramp": row.plan.ramp, "paused": row.paused, "submitted_at": row.submitted_at}
            for row in door.rollouts.all()
        ],
        "pending_approvals": [asdict(approval) for approval in door.approvals.pending()],
        "ledger_problems": door.ledger.verify(PublishedHeads(door.settings.paths.releases)),
        "traffic": {arm: asdict(door.traffic.of(arm)) for arm in door.traffic.arms()},
    }


def _who_and_why(body: bytes) -> tuple[str, str]:
    remedy = 'send {"actor": "your name", "reason": "why"}'
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DoorError(400, "not_json", f"the body is not JSON: {error}", remedy) from error
    if not isinstance(content, dict):
        raise DoorError(400, "not_an_object", "the body is not a JSON object", remedy)
    actor, reason = content.get("actor", ""), content.get("reason", "")
    if not isinstance(actor, str) or not isinstance(reason, str):
        raise DoorError(422, "who_and_why", "actor and reason must be text", remedy)
    return actor, reason
