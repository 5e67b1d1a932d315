"""The posts that a policy may choose from, and all that is known of them at a moment that only moves forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.aggregates.ranking_state import Key
from feature_repo.blocks import States
from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.checked_files import RawColumn, read_raw
from feature_repo.datasets.exposure_file import parquet_columns
from feature_repo.snapshot import Snapshot, assemble_snapshot
from feature_repo.state_tables import StateTable

POSTS_AT_ONCE = 8_192  # bounds the memory of one decision: blocks of this many posts are alive at once
NEVER_US = np.iinfo(np.int64).max

_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Pool:
    """n posts (contract rows sorted by post_id), each open to choice from `since_us` on and before `until_us`; int64 (n,)."""

    posts: pl.DataFrame
    since_us: np.ndarray
    until_us: np.ndarray

    def __len__(self) -> int:
        return self.posts.height

    def open_at(self, now_us: int) -> np.ndarray:
        """Rows of the posts that may be chosen at `now_us`, int64, ascending."""
        return np.flatnonzero((self.since_us <= now_us) & (now_us < self.until_us))

    @staticmethod
    def of_all(posts: pl.DataFrame) -> Pool:
        """Every post of `posts` from its creation on, for ever."""
        return Pool(posts, posts["created_at"].dt.epoch("us").to_numpy(), np.full(posts.height, NEVER_US))

    @staticmethod
    def read(file: Path, posts: pl.DataFrame) -> Pool:
        """The posts that `file` lists: Parquet with `post_id` and, where the pool changes, `since` and `until` (UTC times).

        A null `since` is the post's creation, a null `until` is never. Raises MalformedFile for a column of another type, a
        post that is listed twice or that the posts table does not hold, and a file without rows.
        """
        names = parquet_columns(file)
        wanted = [RawColumn("post_id", pl.Int64)]
        wanted += [RawColumn(name, _TIME, required=False) for name in ("since", "until") if name in names]
        listed = read_raw(file, wanted)
        if listed.is_empty():
            raise MalformedFile(file, "the pool has no posts")
        if (twice := listed.filter(pl.col("post_id").is_duplicated())).height:
            raise MalformedFile(file, f"post {twice['post_id'][0]} is listed twice", column="post_id")
        unknown = listed.join(posts, on="post_id", how="anti")
        if unknown.height:
            raise MalformedFile(file, f"post {unknown['post_id'][0]} is not in the posts table", column="post_id")
        absent = [pl.lit(None, _TIME).alias(name) for name in ("since", "until") if name not in names]
        found = posts.join(listed.with_columns(absent), on="post_id", how="inner", maintain_order="left")
        times = found.select(
            since=pl.coalesce("since", "created_at").dt.epoch("us"), until=pl.col("until").dt.epoch("us").fill_null(NEVER_US)
        )
        return Pool(found.select(posts.columns), times["since"].to_numpy(), times["until"].to_numpy())


class PoolAsOf:
    """The pool's posts as a mixer's snapshot would hold them, at one moment after the other."""

    def __init__(self, pool: Pool, tables: dict[Key, StateTable]) -> None:
        self.pool = pool
        nothing = States.empty(len(pool))
        self._still = assemble_snapshot(pool.posts, {"post": nothing, "author": nothing, "topic": nothing}, 0)
        keys = {"post": self._still.post_id, "author": self._still.author_id, "topic": self._still.topic}
        self._states = {name: NewestStates(tables[Key(name)], ids) for name, ids in keys.items()}

    def parts(self, now_us: int) -> Iterator[Snapshot]:
        """The open posts at `now_us` in ascending order, POSTS_AT_ONCE at a time, with their states strictly before it.

        Moments must not go back. Only what `candidate_rows` reads is filled in: `popularity` and `blocks` are not.
        """
        for states in self._states.values():
            states.advance(now_us)
        rows = self.pool.open_at(now_us)
        for start in range(0, len(rows), POSTS_AT_ONCE):
            yield self._snapshot(rows[start : start + POSTS_AT_ONCE], now_us)

    def _snapshot(self, rows: np.ndarray, now_us: int) -> Snapshot:
        columns = ("post_id", "author_id", "topic", "created_at_us", "media", "popularity", "profile")
        return replace(
            self._still,
            as_of_us=now_us,
            states={name: states.take(rows) for name, states in self._states.items()},
            blocks={},
            **{name: getattr(self._still, name)[rows] for name in columns},
        )


class NewestStates:
    """Of n ids, the newest state before a moment that moves forward: each step costs the events of the step, not a search."""

    def __init__(self, table: StateTable, ids: np.ndarray) -> None:
        """`ids` int64 (n,), any order, repeats allowed; an id that the table does not hold has the empty state."""
        known, self._place = np.unique(ids, return_inverse=True)
        kept = np.flatnonzero(np.isin(table.ids, known))
        updated_at = table.states.updated_at[kept]
        order = np.argsort(updated_at, kind="stable")
        self._states = table.states
        self._row, self._updated_at = kept[order], updated_at[order]
        self._slot = np.searchsorted(known, table.ids[self._row])
        self._newest = np.full(len(known), -1, np.int64)  # row of the table, by distinct id
        self._applied = 0
        self._now_us = np.iinfo(np.int64).min

    def advance(self, now_us: int) -> None:
        """Go on to `now_us`; ValueError where that lies before the last one."""
        if now_us < self._now_us:
            raise ValueError(f"the moment {now_us} lies before {self._now_us}: ask in order of time")
        end = int(np.searchsorted(self._updated_at, now_us, side="left"))
        step = slice(self._applied, end)
        self._newest[self._slot[step]] = self._row[step]  # of several states of one id, the last assignment stays
        self._applied, self._now_us = end, now_us

    def take(self, rows: np.ndarray) -> States:
        """States of the ids at `rows`, int64 (m,)."""
        return self._states.take(self._newest[self._place[rows]])
