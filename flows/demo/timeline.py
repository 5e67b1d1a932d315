"""One real user's timeline with its explanations, asked for through the gateway as an app would."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import httpx
import numpy as np
import polars as pl

from feature_repo.ids import RememberedIds
from feature_repo.lake import Lake
from flows.steps.days import day_end
from flows.steps.lakes import open_lakes
from infra.settings import Settings

COUNT = 10
EXPLAINED = 3  # how many posts also get the whole explanation


def example_timeline(settings: Settings) -> dict[str, Any]:
    """The timeline of a user with a full neighbourhood, as of the end of the newest lived-through day."""
    lake, _ = open_lakes(settings)
    newest = lake.event_days()[-1]
    ids = RememberedIds(settings.platform_database_url)
    user_id = ids.shown("user", np.array([_connected_user(lake, newest)]))[0]
    moment = (day_end(newest, lake.day_offset) - timedelta(seconds=1)).isoformat()
    body = {"user_id": user_id, "count": COUNT, "requested_at": moment}
    with httpx.Client(base_url=settings.gateway_url, timeout=30.0) as client:
        answer = client.post("/for_you", json=body).raise_for_status()
        content = answer.json()
        for post in content["posts"][:EXPLAINED]:
            asked = {"user_id": user_id, "post_id": post["post_id"], "requested_at": moment}
            post["explanation"] = client.post("/explain", json=asked).raise_for_status().json()
    numbers = ids.known("post", [post["post_id"] for post in content["posts"]]).tolist()
    rows = lake.read("posts").filter(pl.col("post_id").is_in(numbers)).to_dicts()
    posts = {row["post_id"]: row for row in rows}
    for number, post in zip(numbers, content["posts"], strict=True):
        known = posts.get(number, {})
        post["media"], post["topics"] = known.get("media"), known.get("topics")
    return {
        "user_id": user_id,
        "as_of": moment,
        "release": content["release"],
        "took_ms": content["took_ms"],
        "posts": content["posts"],
        "funnel": content["funnel"],
    }


def _connected_user(lake: Lake, day: date) -> int:
    """Who was active on `day` and follows the most accounts: in such a timeline every source has something to say."""
    active = lake.scan_events([day]).select("user_id").unique().collect()
    follows = lake.read("edges").filter(pl.col("kind") == "follow").group_by("user_id").len()
    ranked = active.join(follows, on="user_id", how="left").sort(["len", "user_id"], descending=[True, False], nulls_last=True)
    return int(ranked["user_id"][0])
