"""One real user's timeline with its explanations, asked for through the gateway as an app would."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import polars as pl

from flows.days import day_end
from flows.lakes import open_lakes
from infra.settings import Settings

COUNT = 10
EXPLAINED = 3  # how many posts also get the whole explanation


def example_timeline(settings: Settings) -> dict[str, Any]:
    """The timeline of the user with the most events on the newest lived-through day, as of that day's end."""
    lake, _ = open_lakes(settings)
    newest = lake.event_days()[-1]
    busiest = (
        lake.scan_events([newest])
        .group_by("user_id")
        .len()
        .sort(["len", "user_id"], descending=[True, False])
        .first()
        .collect()
    )
    user_id = int(busiest["user_id"][0])
    moment = (day_end(newest, lake.day_offset) - timedelta(seconds=1)).isoformat()
    body = {"user_id": user_id, "count": COUNT, "requested_at": moment}
    with httpx.Client(base_url=settings.gateway_url, timeout=30.0) as client:
        answer = client.post("/for_you", json=body).raise_for_status()
        content = answer.json()
        for post in content["posts"][:EXPLAINED]:
            asked = {"user_id": user_id, "post_id": post["post_id"], "requested_at": moment}
            post["explanation"] = client.post("/explain", json=asked).raise_for_status().json()
    posts = {
        row["post_id"]: row
        for row in lake.read("posts").filter(pl.col("post_id").is_in([p["post_id"] for p in content["posts"]])).to_dicts()
    }
    for post in content["posts"]:
        known = posts.get(post["post_id"], {})
        post["media"], post["topics"] = known.get("media"), known.get("topics")
    return {
        "user_id": user_id,
        "as_of": moment,
        "release": content["release"],
        "took_ms": content["took_ms"],
        "posts": content["posts"],
        "funnel": content["funnel"],
    }
