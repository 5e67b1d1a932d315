"""Posts that become known after their first events: those events are applied again, to the families of topics alone.

An event of an unknown post has no topic, so the families of topics do not count it. The state keeps the ids of such posts. Once
the lake has the post, its events are read from the lake and folded into those families: as the batch engine counts them.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_repo.aggregates.stream_events import StreamEvents
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.aggregates.topics import Topics
from feature_repo.event_log import log_columns
from feature_repo.lake import Lake

MOST_UNPLACED = 1 << 20  # posts; beyond it the smallest ids are given up, and their events stay without a topic


def note_unplaced(state: StreamState, events: StreamEvents, topics: Topics) -> None:
    """Remember the posts of `events`, which were just applied, that `topics` does not know."""
    posts = np.unique(events.ids["post_id"])
    unknown = posts[~topics.known(posts)]
    if len(unknown):
        state.unplaced = np.union1d(state.unplaced, unknown)[-MOST_UNPLACED:]


def to_place(state: StreamState, topics: Topics) -> np.ndarray:
    """Posts with earlier events that `topics` knows now, int64 ascending."""
    return state.unplaced[topics.known(state.unplaced)] if len(state.unplaced) else state.unplaced


def place(state: StreamState, lake: Lake, topics: Topics, posts: np.ndarray) -> np.ndarray:
    """Give the events of `posts` their topics; all that was applied must be in the lake. Returns their users, ascending."""
    of_posts = lake.scan_events().filter(pl.col("post_id").is_in(posts.tolist())).unique("event_id", keep="any")
    events = log_columns(of_posts, topics.pairs).filter(pl.col("topic") >= 0).sort("at", "event_id").collect()
    if events.height:
        state.engine.fold_topics(StreamEvents.of(events, events["topic"].to_numpy()))
    state.unplaced = np.setdiff1d(state.unplaced, posts)
    return events["user_id"].unique().sort().to_numpy()


def fill_topics(histories: np.ndarray, topics: Topics) -> None:
    """Set the topics that exposures in `histories` (HISTORY (n,), changed in place) lack because their posts came later."""
    exposures = histories["exposures"]
    without = exposures["topic"] < 0
    exposures["topic"][without] = topics.of(exposures["post_id"][without])
