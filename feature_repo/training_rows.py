"""Training rows: every dated impression of some days with its labels, and its features strictly before its page was asked for.

A page is ranked as a whole, so the ranker does not know what its first posts led to. Rows that did would leak the position on
the page through the time.

Feast's own historical retrieval joins each row with every older row of its key before it picks the newest, which explodes
on popular topics; the as-of search used here costs a bisection. A test holds the two equal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.aggregates.batch import ALL, write_states, write_states_of_files
from feature_repo.aggregates.batch_engine import EngineLimits
from feature_repo.aggregates.ranking_state import Key
from feature_repo.aggregates.state_questions import StateQuestions
from feature_repo.blocks import BLOCK_NAMES, history_blocks, post_block, user_block
from feature_repo.event_log import end_of_days, read_events, read_table, write_events
from feature_repo.exposure_files import everybody, map_exposure_log
from feature_repo.exposures import ExposureLog, exposure_log
from feature_repo.feature_rows import FeatureRows
from feature_repo.history import histories_as_of
from feature_repo.lake import Lake
from feature_repo.profiles import post_profiles, unknown_post_profile, unknown_user_profile, user_profiles
from feature_repo.row_draw import EmptyDraw, RowDraw
from feature_repo.state_tables import StateTable, map_state_table, read_state_table
from infra.settings import Settings

CHUNK_ROWS = 16_384  # rows whose (rows, HISTORY_LENGTH, signals) intermediates are alive at once
ENGINE_MEMORY_GB = 1.0  # of the batch engine, which spills what does not fit
# Actions that answer an impression of the last day may come after its midnight.
LABEL_GRACE = timedelta(days=1)


def point_in_time_rows(settings: Settings, lakes: Sequence[Lake], days: Sequence[date]) -> FeatureRows:
    """One row per dated impression of `days` (local days of the first lake), sorted by time, with labels.

    Aggregates and histories hold events strictly before the row's page was asked for, from all of `lakes`.
    Raises ValueError where the days hold no impression.
    """
    events = read_events(lakes, until=known_until(days, lakes[0].day_offset))
    known = PointsInTime.of(settings, events, read_table(lakes, "users"), read_table(lakes, "posts"))
    del events
    return known.rows(impressions_of(known.log, lakes, days))


def row_pieces(
    settings: Settings, lakes: Sequence[Lake], days: Sequence[date], draw: RowDraw | None = None
) -> Iterator[FeatureRows]:
    """The rows of `point_in_time_rows`, CHUNK_ROWS at a time in the same order, without holding events, states or rows.

    With a `draw` only the rows that it keeps; each is the same as without.

    What is known lies in a folder under `paths.training_rows` until the last piece was asked for. Memory holds one piece, some
    of the events, the tables of users and posts, and the index of the days' exposures.
    """
    settings.paths.training_rows.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.paths.training_rows, prefix=".known-") as name:
        folder = Path(name)
        files = write_events(lakes, folder, known_until(days, lakes[0].day_offset))
        log = map_exposure_log(files, folder, everybody if draw is None else draw.users)
        chosen = _chosen(log, lakes, days, draw)
        tables = _state_tables_on_disk(settings, files, folder, ALL if draw is None else _questions(log, chosen))
        known = PointsInTime(log, tables, read_table(lakes, "users"), read_table(lakes, "posts"))
        for start in range(0, len(chosen), CHUNK_ROWS):
            yield known.rows(chosen[start : start + CHUNK_ROWS])


def _chosen(log: ExposureLog, lakes: Sequence[Lake], days: Sequence[date], draw: RowDraw | None) -> np.ndarray:
    """Indices of the exposures of `days` that the draw keeps, oldest first."""
    if draw is None:
        return impressions_of(log, lakes, days)
    found = _on_days(log, days, lakes[0].day_offset)
    kept = found[draw.keep(log.user_id[found], log.at_us[found])]
    if len(kept) == 0:
        raise EmptyDraw(f"no dated impression on {[str(day) for day in days]} is of a user of the draw ({draw.name})")
    return kept


def _questions(log: ExposureLog, chosen: np.ndarray) -> dict[Key, StateQuestions]:
    """What the rows of the exposures at `chosen` ask of the states."""
    ids = {Key.USER: log.user_id, Key.POST: log.post_id, Key.AUTHOR: log.author_id, Key.TOPIC: log.topic}
    return {key: StateQuestions(column[chosen], log.asked_us[chosen]) for key, column in ids.items()}


def _state_tables_on_disk(
    settings: Settings, files: Sequence[Path], folder: Path, asked: Mapping[Key, StateQuestions]
) -> dict[Key, StateTable]:
    """The states of the events in `files`, mapped from `folder`; of keys that are `asked` about only those that answer."""
    write_states_of_files(files, folder, EngineLimits(folder, ENGINE_MEMORY_GB, settings.threads), asked)
    return {key: map_state_table(folder, key, folder) for key in Key}


def known_until(days: Sequence[date], day_offset: timedelta) -> datetime:
    """The last moment (UTC) whose events say anything of the rows of `days`."""
    return end_of_days(days, day_offset) + LABEL_GRACE


@dataclass(frozen=True)
class PointsInTime:
    """What was known at any moment: every exposure of some events, and every key's state after each of its events.

    For the rows of a draw it holds less: the exposures of the users that are drawn, and the states that their rows ask for.
    """

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

        Everything is as of the moment at which each exposure's page was asked for, as it is when pages are served, or as of
        `state_us` (int64 (n,)) where that is given.
        """
        return _rows(self, chosen, self.log.asked_us[chosen] if state_us is None else state_us)

    @cached_property
    def user_facts(self) -> np.ndarray:
        """Profiles of `users`, and of an unknown one in the last row."""
        return np.concatenate([user_profiles(self.users), unknown_user_profile()])

    @cached_property
    def post_facts(self) -> np.ndarray:
        """Profiles of `posts`, and of an unknown one in the last row."""
        return np.concatenate([post_profiles(self.posts), unknown_post_profile()])


def impressions_of(log: ExposureLog, lakes: Sequence[Lake], days: Sequence[date]) -> np.ndarray:
    """Indices of the dated exposures of `days` (of the first lake), oldest first. Raises ValueError where there are none."""
    chosen = _on_days(log, days, lakes[0].day_offset)
    if len(chosen) == 0:
        held = sorted({day for lake in lakes for day in lake.event_days()})
        raise ValueError(f"no dated impression on {[str(day) for day in days]}; the lakes hold {[str(day) for day in held]}")
    return chosen


def _on_days(log: ExposureLog, days: Sequence[date], offset: timedelta) -> np.ndarray:
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
        return {key: read_state_table(Path(folder), key) for key in Key}


def _rows(known: PointsInTime, chosen: np.ndarray, now_us: np.ndarray) -> FeatureRows:
    log, tables, posts = known.log, known.tables, known.posts
    user_id, post_id, author_id, topic, product = (
        column[chosen] for column in (log.user_id, log.post_id, log.author_id, log.topic, log.product)
    )
    history = histories_as_of(log, user_id, now_us)
    user_profile = known.user_facts[_row_of(known.users["user_id"], user_id)]
    post_row = _row_of(posts["post_id"], post_id)
    post_profile = known.post_facts[post_row]
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
        labels=log.labels(chosen),
        occurred_at=log.at_us[chosen],
        names=BLOCK_NAMES,
        dwell_s=log.dwell_s(chosen),
        asked_us=now_us,
    )


def _row_of(ids: pl.Series, wanted: np.ndarray) -> np.ndarray:
    """Row of each wanted id in the ascending `ids`; -1 (the appended unknown row) where it is absent."""
    known = ids.to_numpy()
    if len(known) == 0:
        return np.full(len(wanted), -1)
    row = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[row] == wanted, row, -1)
