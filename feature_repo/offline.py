"""Build the offline feature tables that Feast reads: one row per key and moment, stamped one microsecond after it.

So a question "as of t" sees only events strictly before t.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.aggregates.batch import write_states
from feature_repo.aggregates.ranking_state import Key
from feature_repo.blocks import EMPTY_STATE
from feature_repo.event_log import read_events, read_table
from feature_repo.exposures import ExposureLog, exposure_log
from feature_repo.history import newest_exposures, stored_histories
from feature_repo.lake import Lake
from feature_repo.offline_files import COMPRESSION, TIMESTAMP, source_file
from feature_repo.profiles import post_profiles, unknown_post_profile, unknown_user_profile, user_profiles
from infra.settings import Settings
from infra.storage import replace_atomically

STATES = "states"  # folder of the batch engine's tables, under the features folder
BUILT = "built.json"

# Keys that were never active have a row of their own from this moment on, so that their profile can be read.
PROFILES_FROM = datetime(1970, 1, 2, tzinfo=UTC)


def write_offline_rows(settings: Settings, lakes: Sequence[Lake], until: datetime | None) -> dict[str, int]:
    """Write the rows of every view from the events of `lakes` at or before `until` (all when None); returns rows per view."""
    features = settings.paths.features
    events = read_events(lakes, until)
    states = features / STATES
    with ThreadPoolExecutor(1, thread_name_prefix="exposures") as beside:
        exposures = beside.submit(exposure_log, events)
        write_states(events, states)
        log = exposures.result()
    del events
    users, posts = read_table(lakes, "users"), read_table(lakes, "posts")
    user_profile = users.select("user_id", profile=_packed(user_profiles(users)))
    post_profile = posts.select(
        "post_id", profile=_packed(post_profiles(posts)), created_at=pl.col("created_at").dt.epoch("us")
    )
    topics = posts.select(topic=pl.col("topics").list.first()).drop_nulls().unique().cast(pl.Int64)
    views: dict[str, Callable[[], pl.DataFrame]] = {  # made one after another: each is as large as all events
        "user": lambda: _with_profile(_stamped(states, Key.USER, user_profile), unknown_user_profile()),
        "post": lambda: _with_profile(_stamped(states, Key.POST, post_profile), unknown_post_profile()).with_columns(
            pl.col("created_at").fill_null(0)
        ),
        "author": lambda: _stamped(states, Key.AUTHOR, posts.select("author_id").unique()),
        "topic": lambda: _stamped(states, Key.TOPIC, topics),
        "user_history": lambda: _history_rows(log),
    }
    written = {}
    with ExitStack() as files:  # which take their places together, once all are written
        for view, made in views.items():
            rows = made()
            written[view] = rows.height
            temporary = files.enter_context(replace_atomically(source_file(features, view)))
            rows.write_parquet(temporary, compression=COMPRESSION)
            del rows
    with replace_atomically(features / BUILT) as temporary:
        until_us = None if until is None else round(until.timestamp() * 1e6)
        temporary.write_text(json.dumps({"until_us": until_us, "unanswered": log.unanswered_actions()}))
    return written


def states_built_until(settings: Settings) -> int | None:
    """The `until` of the newest build in microseconds, None for "everything". Raises FileNotFoundError before the first."""
    return json.loads((settings.paths.features / BUILT).read_text())["until_us"]


def unanswered_actions(settings: Settings) -> dict[str, int]:
    """Actions of each kind that answered no exposure in the newest build. Raises FileNotFoundError before the first."""
    return json.loads((settings.paths.features / BUILT).read_text())["unanswered"]


def _stamped(states: Path, key: Key, known: pl.DataFrame) -> pl.DataFrame:
    """States with their profile and time stamp, and one early row for every known key."""
    rows = pl.read_ipc(states / key.file).with_columns(pl.col(key.column).cast(pl.Int64))
    empty = pl.Series("state", [EMPTY_STATE[0].tolist()], dtype=pl.List(pl.Float32))
    early = known.select(key.column).with_columns(updated_at=pl.lit(0, pl.Int64)).join(empty.to_frame(), how="cross")
    stamped = pl.concat([early, rows.with_columns(pl.col("state").cast(pl.List(pl.Float32)))]).join(
        known, on=key.column, how="left"
    )
    stamp = pl.from_epoch(pl.col("updated_at") + 1, "us").dt.replace_time_zone("UTC")
    return stamped.with_columns(pl.when(pl.col("updated_at") == 0).then(PROFILES_FROM).otherwise(stamp).alias(TIMESTAMP))


def _with_profile(rows: pl.DataFrame, unknown: np.ndarray) -> pl.DataFrame:
    """Fill the profile of keys that acted but are in no table."""
    default = pl.lit(pl.Series([unknown[0].tolist()], dtype=pl.List(pl.Float32)).first(), pl.List(pl.Float32))
    return rows.with_columns(pl.coalesce("profile", default))


def _history_rows(log: ExposureLog) -> pl.DataFrame:
    """The newest history of every user that was shown anything."""
    user_id, last = np.unique(log.user_id[::-1], return_index=True)
    after = np.full(len(user_id), np.iinfo(np.int64).max)
    stamps = log.at_us[len(log) - 1 - last] + 1
    return pl.DataFrame(
        {"user_id": user_id, "exposures": stored_histories(log, newest_exposures(log, user_id, after))}
    ).with_columns(pl.from_epoch(pl.Series(TIMESTAMP, stamps), "us").dt.replace_time_zone("UTC"))


def _packed(matrix: np.ndarray) -> pl.Series:
    return pl.Series("profile", matrix).arr.to_list() if len(matrix) else pl.Series("profile", [], dtype=pl.List(pl.Float32))
