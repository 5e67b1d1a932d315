"""Training rows: every dated impression of some days with its features strictly before its microsecond, and its labels.

Feast's own historical retrieval joins each row with every older row of its key before it picks the newest, which explodes
on popular topics; the as-of search used here costs one sort. A test holds the two equal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.aggregates.batch import write_states
from feature_repo.aggregates.ranking_state import Key
from feature_repo.blocks import BLOCK_NAMES, history_blocks, post_block, user_block
from feature_repo.event_log import end_of_days, read_events, read_table
from feature_repo.exposures import ExposureLog, exposure_log
from feature_repo.feature_rows import FeatureRows
from feature_repo.history import histories_as_of
from feature_repo.lake import Lake
from feature_repo.profiles import post_profiles, unknown_post_profile, unknown_user_profile, user_profiles
from feature_repo.state_tables import StateTable, read_state_table
from infra.settings import Settings

CHUNK_ROWS = 16_384  # rows whose (rows, HISTORY_LENGTH, signals) intermediates are alive at once
# Actions that answer an impression of the last day may come after its midnight.
LABEL_GRACE = timedelta(days=1)


def point_in_time_rows(settings: Settings, lakes: Sequence[Lake], days: Sequence[date]) -> FeatureRows:
    """One row per dated impression of `days` (local days of the first lake), sorted by time, with labels.

    Aggregates and histories hold events strictly before the row's microsecond, from all of `lakes`.
    Raises ValueError where the days hold no impression.
    """
    offset = lakes[0].day_offset
    events = read_events(lakes, until=end_of_days(days, offset) + LABEL_GRACE)
    known = PointsInTime.of(settings, events, read_table(lakes, "users"), read_table(lakes, "posts"))
    del events
    chosen = _impressions_of(known.log, days, offset)
    if len(chosen) == 0:
        held = sorted({day for lake in lakes for day in lake.event_days()})
        raise ValueError(f"no dated impression on {[str(day) for day in days]}; the lakes hold {[str(day) for day in held]}")
    return known.rows(chosen)


@dataclass(frozen=True)
class PointsInTime:
    """What was known at any moment: every exposure of some events, and every key's state after each of its events."""

    log: ExposureLog
    tables: dict[Key, StateTable]
    users: pl.DataFrame
    posts: pl.DataFrame

    @staticmethod
    def of(settings: Settings, events: pl.DataFrame, users: pl.DataFrame, posts: pl.DataFrame) -> PointsInTime:
        """`events` as `read_events` gives them; `users` and `posts`: contract tables sorted by id."""
        return PointsInTime(exposure_log(events), _state_tables(settings, events), users, posts)

    def dated(self, first_us: int, last_us: int) -> np.ndarray:
        """Indices of the dated exposures between two moments, both included, oldest first."""
        chosen = np.flatnonzero(self.log.dated & (self.log.at_us >= first_us) & (self.log.at_us <= last_us))
        return chosen[np.argsort(self.log.at_us[chosen], kind="stable")]

    def rows(self, chosen: np.ndarray, state_us: np.ndarray | None = None) -> FeatureRows:
        """Rows of the exposures at `chosen` (int64 (n,)), in that order, with their labels.

        Everything is as of each exposure's own microsecond, or as of `state_us` (int64 (n,)) where that is given.
        """
        at_us = self.log.at_us[chosen]
        return _rows(self.log, chosen, at_us if state_us is None else state_us, self.tables, self.users, self.posts)


def _impressions_of(log: ExposureLog, days: Sequence[date], offset: timedelta) -> np.ndarray:
    """Indices of the dated exposures of `days`, oldest first."""
    midnights = [datetime.combine(day, datetime.min.time(), tzinfo=UTC) - offset for day in sorted(set(days))]
    wanted = np.zeros(len(log), bool)
    for start in midnights:
        first_us = int(start.timestamp() * 1e6)
        wanted |= (log.at_us >= first_us) & (log.at_us < first_us + 86_400_000_000)
    chosen = np.flatnonzero(wanted & log.dated)
    return chosen[np.argsort(log.at_us[chosen], kind="stable")]


def _state_tables(settings: Settings, events: pl.DataFrame) -> dict[Key, StateTable]:
    settings.paths.features.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.paths.features, prefix="training-") as folder:
        write_states(events, Path(folder))
        return {key: read_state_table(Path(folder) / f"{key.value}.parquet", key) for key in Key}


def _rows(
    log: ExposureLog,
    chosen: np.ndarray,
    now_us: np.ndarray,
    tables: dict[Key, StateTable],
    users: pl.DataFrame,
    posts: pl.DataFrame,
) -> FeatureRows:
    user_id, post_id, author_id, topic, product = (
        column[chosen] for column in (log.user_id, log.post_id, log.author_id, log.topic, log.product)
    )
    history = histories_as_of(log, user_id, now_us)
    user_profile = np.concatenate([user_profiles(users), unknown_user_profile()])[_row_of(users["user_id"], user_id)]
    post_row = _row_of(posts["post_id"], post_id)
    post_profile = np.concatenate([post_profiles(posts), unknown_post_profile()])[post_row]
    created_at_us = np.append(posts["created_at"].dt.epoch("us").to_numpy(), 0)[post_row]
    blocks = {
        "user": user_block(tables[Key.USER].as_of(user_id, now_us), user_profile, now_us),
        "post": post_block(tables[Key.POST].as_of(post_id, now_us), post_profile, created_at_us, now_us),
        "author": tables[Key.AUTHOR].as_of(author_id, now_us).derive(now_us),
        "topic": tables[Key.TOPIC].as_of(topic, now_us).derive(now_us),
    }
    pieces = []
    for start in range(0, len(chosen), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        pieces.append(
            history_blocks(history.rows(part), post_id[part], author_id[part], topic[part], product[part], now_us[part])
        )
    blocks |= {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return FeatureRows(
        user_id=user_id,
        post_id=post_id,
        author_id=author_id,
        topic=topic,
        product=product,
        blocks=blocks,
        history=history,
        labels=log.labels()[chosen],
        occurred_at=log.at_us[chosen],
        names=BLOCK_NAMES,
        dwell_s=log.dwell_s()[chosen],
    )


def _row_of(ids: pl.Series, wanted: np.ndarray) -> np.ndarray:
    """Row of each wanted id in the ascending `ids`; -1 (the appended unknown row) where it is absent."""
    known = ids.to_numpy()
    if len(known) == 0:
        return np.full(len(wanted), -1)
    row = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[row] == wanted, row, -1)
