"""A person's timeline as cards: what is shown, why, and the funnel that it came through."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from feature_repo.ids import IdError
from feature_repo.ids.id_texts import id_text
from feature_repo.snapshot import current_moment_us
from infra.settings import Settings
from services.gateway.door import Door
from services.gateway.errors import DoorError
from services.gateway.pages.post_facts import post_facts
from services.gateway.pages.rendering import page
from services.gateway.proxy import Answer

PRODUCTS = {"for_you": "For you", "following": "Following"}
POSTS_SHOWN = 12
PREDICTIONS_SHOWN = 4
_BAR = 100.0  # width of a full bar in the drawings


async def show(request: Request) -> Response:
    """GET /timeline?user_id=17&product=for_you&at=2022-05-03T12:00:00Z. Ids travel as text: no reader may round them."""
    door: Door = request.app.state.door
    query = request.query_params
    product = query.get("product", "for_you")
    context: dict[str, Any] = {
        "page": "timeline",
        "user_id": query.get("user_id", ""),
        "product": product if product in PRODUCTS else "for_you",
        "products": PRODUCTS,
        "at": query.get("at", ""),
        "problem": "",
        "timeline": None,
    }
    if not context["user_id"]:
        return page("timeline.html", context)
    try:
        user_id = _user_id(context["user_id"])
        at, replayed = await asyncio.to_thread(_moment_of_use, context["at"], door.settings)
        context["timeline"] = await _timeline(door, user_id, context["product"], at)
        context["timeline"]["replayed_at"] = at if replayed else None
    except DoorError as error:
        context["problem"] = f"{error.message} – {error.remedy}"
        return page("timeline.html", context, error.status)
    return page("timeline.html", context)


async def _timeline(door: Door, user_id: str, product: str, at: datetime | None) -> dict[str, Any]:
    asked: dict[str, Any] = {"user_id": user_id, "count": POSTS_SHOWN}
    if at is not None:
        asked["requested_at"] = at.isoformat()
    answer = await _ask(door, user_id, f"/{product}", asked)
    content = _content(answer)
    # The explanation is asked for the same moment, so it speaks of the same page; without one the cards stand alone.
    explained = await _ask(door, user_id, "/explain", {**asked, "product": product})
    reasons = {post["post_id"]: post for post in orjson.loads(explained.body)["posts"]} if explained.status == 200 else {}
    facts = await asyncio.to_thread(post_facts, door.settings, [post["post_id"] for post in content["posts"]])
    return {
        **content,
        "arm": door.proxy.arm_name(answer.arm),
        "posts": [_card(post, facts.get(post["post_id"]), reasons.get(post["post_id"])) for post in content["posts"]],
        "funnel": funnel_bars(content["funnel"]),
    }


def _card(post: dict[str, Any], facts: dict[str, Any] | None, explanation: dict[str, Any] | None) -> dict[str, Any]:
    likely = sorted(post["predictions"].items(), key=lambda item: -item[1])[:PREDICTIONS_SHOWN]
    heads = sorted(explanation["heads"], key=lambda head: -abs(head["contribution"]))[:5] if explanation else []
    largest = max((abs(head["contribution"]) for head in heads), default=0.0) or 1.0
    return {
        **post,
        "facts": facts,
        "likely": [(head.replace("_", " "), share, round(_BAR * min(share, 1.0), 1)) for head, share in likely],
        "heads": [{**head, "width": round(_BAR * abs(head["contribution"]) / largest, 1)} for head in heads],
        "why": explanation["why"] if explanation else [],
    }


def funnel_bars(funnel: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The stages that change how many candidates there are, with bar widths (0..100) on a square-root scale.

    A funnel falls from a thousand to a dozen: on a linear scale its end could not be seen.
    """
    top = max((max(stage["before"], stage["after"]) for stage in funnel), default=0)
    kept = [stage for stage in funnel if stage["before"] != stage["after"] or stage["failure"]]
    return [{**stage, "width": round(_BAR * (stage["after"] / top) ** 0.5, 1) if top else 0.0} for stage in kept]


async def _ask(door: Door, user_id: str, path: str, asked: dict[str, Any]) -> Answer:
    return await door.proxy.ask(
        user_id, door.pool.choose(user_id), path, orjson.dumps(asked), {"content-type": "application/json"}
    )


def _content(answer: Answer) -> dict[str, Any]:
    content = orjson.loads(answer.body)
    if answer.status == 200:
        return content
    error = content.get("error", {}) if isinstance(content, dict) else {}
    raise DoorError(
        answer.status,
        "mixer_refused",
        error.get("message", f"the mixer answered {answer.status}"),
        error.get("remedy", "try again"),
    )


def _user_id(text: str) -> str:
    try:
        return id_text(text, "user id")
    except IdError as error:
        raise DoorError(400, "user_id_invalid", str(error), "give a whole number or text, as your events do") from error


def _moment_of_use(asked: str, settings: Settings) -> tuple[datetime | None, bool]:
    """The moment the timeline is made for, and whether it is the newest moment of a replayed log; None is now.

    Where the platform lives through an old log, "now" is that log's newest event: at today's clock every post is years old.
    Before the stream worker has told of any, it is the moment of the features.
    """
    if asked:
        try:
            at = datetime.fromisoformat(asked)
        except ValueError as error:
            raise DoorError(
                400, "moment_invalid", f"{asked[:40]!r} is not a moment", "write it as 2022-05-03T12:00:00Z"
            ) from error
        return (at if at.tzinfo else at.replace(tzinfo=UTC)), False
    newest_us = _newest_streamed_us(settings) or current_moment_us(settings)
    if newest_us is None:
        return None, False
    newest = datetime.fromtimestamp(newest_us / 1e6, UTC)
    return (newest, True) if datetime.now(UTC) - newest > timedelta(days=1) else (None, False)


def _newest_streamed_us(settings: Settings) -> int | None:
    """The newest event that the stream worker has told of, None where it has told of none."""
    try:
        return json.loads((settings.paths.stream / "progress.json").read_text())["newest_event_us"] or None
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return None
