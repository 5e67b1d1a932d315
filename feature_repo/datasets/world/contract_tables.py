"""The simulated world in the shape of the contracts."""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_repo.contracts import EDGES, EVENTS, Action, EdgeKind
from feature_repo.datasets.world.day_curve import DAY_US
from feature_repo.datasets.world.follow_graph import FollowGraph
from feature_repo.datasets.world.people import LANGUAGES, People
from feature_repo.datasets.world.posts import MEDIA, Posts

PRODUCT = "for_you"

# Order of `users.attributes`: the community as the platform guesses it, language, and two coarse habits.
ATTRIBUTES = ("region", "language", "activity_level", "account_age_level")
_ACTIVITY_EDGES = np.array([0.3, 0.6, 1.0, 1.8])  # visits a day
_AGE_EDGES = np.array([90.0, 365.0, 1_000.0])  # days

_TIME = pl.Datetime("us", "UTC")


def users_table(everyone: People, graph: FollowGraph, start_us: int) -> pl.DataFrame:
    """Accounts (USERS) with their follower counts in the graph."""
    size = graph.users
    codes = np.stack(
        [
            everyone.region,
            everyone.language,
            np.searchsorted(_ACTIVITY_EDGES, everyone.visits_a_day),
            np.searchsorted(_AGE_EDGES, everyone.account_age_days),
        ],
        axis=1,
    ).astype(np.int32)
    return pl.DataFrame(
        {
            "user_id": everyone.user_id,
            "created_at": start_us - (everyone.account_age_days * DAY_US).astype(np.int64),
            "language": np.array(LANGUAGES)[everyone.language],
            "followers": np.bincount(graph.target, minlength=size)[everyone.user_id],
            "following": np.bincount(graph.source, minlength=size)[everyone.user_id],
            "attributes": codes,
        }
    ).with_columns(pl.col("created_at").cast(_TIME), pl.col("attributes").arr.to_list())


def posts_table(chosen: Posts, texts: list[str], author_language: np.ndarray) -> pl.DataFrame:
    """Posts (POSTS) in the language of their authors, codes int (n,)."""
    topics = np.stack([chosen.topic, chosen.second_topic], axis=1).astype(np.int32)
    return pl.DataFrame(
        {
            "post_id": chosen.post_id,
            "author_id": chosen.author_id,
            "created_at": chosen.created_us,
            "topics": topics,
            "media": np.array(MEDIA)[chosen.media],
            "duration_ms": chosen.duration_ms,
            "language": np.array(LANGUAGES)[author_language],
            "text": texts,
            "in_reply_to": chosen.in_reply_to,
        }
    ).with_columns(
        pl.col("created_at").cast(_TIME),
        pl.col("topics").arr.to_list().list.filter(pl.element() >= 0),
        pl.when(pl.col("duration_ms") > 0).then("duration_ms").alias("duration_ms"),
        pl.when(pl.col("in_reply_to") >= 0).then("in_reply_to").alias("in_reply_to"),
    )


def edges_table(graph: FollowGraph, avoided: tuple[np.ndarray, np.ndarray, np.ndarray], start_us: int) -> pl.DataFrame:
    """Follow, mute and block edges (EDGES); all declared by the users, and older than the world's first day."""
    source, target, is_block = avoided
    kinds = np.concatenate(
        [
            np.full(len(graph.source), EdgeKind.FOLLOW.value),
            np.where(is_block, EdgeKind.BLOCK.value, EdgeKind.MUTE.value),
        ]
    )
    return pl.DataFrame(
        {"user_id": np.concatenate([graph.source, source]), "target_id": np.concatenate([graph.target, target]), "kind": kinds}
    ).select(
        "user_id",
        "target_id",
        "kind",
        pl.lit(1.0, pl.Float32).alias("weight"),
        pl.lit(False).alias("derived"),
        pl.lit(start_us - DAY_US, pl.Int64).cast(_TIME).alias("created_at"),
    )[EDGES.names]


def events_table(exposures: pl.DataFrame, happened: dict[Action, np.ndarray]) -> pl.DataFrame:
    """Events (EVENTS) of exposures and what happened at each, row by row.

    `exposures`: request_id, user_id, post_id, author_id, position, release, propensity, occurred_at, at most one row per
    request and post. A click-through is a bool array; `dwell` is milliseconds, and is also the value of a `video_view`.
    """
    dwell = pl.Series("dwell", happened[Action.DWELL])
    shared = exposures.with_columns(dwell, product=pl.lit(PRODUCT))
    rows = {Action.IMPRESSION: np.ones(len(exposures), bool), **happened, Action.DWELL: happened[Action.DWELL] > 0}
    parts = [
        shared.filter(pl.Series(mask)).with_columns(
            event_id=pl.format(f"{{}}-{{}}-{action.value}", "request_id", "post_id"),
            action=pl.lit(action.value),
            value=pl.col("dwell") if action in (Action.DWELL, Action.VIDEO_VIEW) else pl.lit(None, pl.Float64),
        )
        for action, mask in rows.items()
    ]
    return pl.concat(parts).select(EVENTS.names).sort("occurred_at", "position", "event_id")
