"""Posts that the lake got after a snapshot was built: what can be said of them before the next one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.blocks import States
from feature_repo.event_log import first_topics
from feature_repo.lake import Lake
from feature_repo.snapshot import Snapshot, assemble_snapshot

FileAsWritten = tuple[str, int]  # its name, and when it was written


class FreshPosts:
    """Looks for posts of `lake` that a snapshot does not hold.

    A file is read when it is new or was written again, and when a new snapshot lacks some of its posts.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._of: str | None = None  # version of the snapshot that was looked at last
        self._compared: set[FileAsWritten] = set()  # with that snapshot
        self._ids: dict[FileAsWritten, np.ndarray] = {}  # posts of each file, int64

    def beyond(self, snapshot: Snapshot) -> Snapshot | None:
        """The posts that are missing in `snapshot`, with its version, sorted by id; None where there is none.

        A post of which nothing has happened yet has the empty state; its author's and topic's are those that `snapshot` has
        of them, empty where it knows no other post of theirs.
        """
        if snapshot.version != self._of:
            self._of, self._compared = snapshot.version, set()
        files = {(file.name, file.stat().st_mtime_ns): file for file in (self._lake.root / "posts").glob("*.parquet")}
        parts = [self._lacking(as_written, files[as_written], snapshot) for as_written in sorted(files.keys() - self._compared)]
        self._compared = set(files)
        self._ids = {as_written: ids for as_written, ids in self._ids.items() if as_written in files}
        rows = [part for part in parts if part is not None]
        if not rows:
            return None
        posts = pl.concat(rows).unique("post_id", keep="last", maintain_order=True).sort("post_id")
        return _assembled(posts, snapshot)

    def _lacking(self, as_written: FileAsWritten, file: Path, snapshot: Snapshot) -> pl.DataFrame | None:
        """The posts of one file that `snapshot` lacks; None where it lacks none."""
        rows = self._lake.read_part("posts", file) if as_written not in self._ids else None
        if rows is not None:
            self._ids[as_written] = rows["post_id"].to_numpy()
        if not (snapshot.rows_of(self._ids[as_written]) < 0).any():
            return None
        rows = self._lake.read_part("posts", file) if rows is None else rows
        return rows.filter(pl.Series(snapshot.rows_of(rows["post_id"].to_numpy()) < 0))


def _assembled(posts: pl.DataFrame, snapshot: Snapshot) -> Snapshot:
    topic = first_topics(posts)["topic"].to_numpy()
    states = {
        "post": States.empty(posts.height),
        "author": snapshot.states["author"].take(_row_of_key(snapshot.author_id, posts["author_id"].to_numpy())),
        "topic": snapshot.states["topic"].take(np.where(topic < 0, -1, _row_of_key(snapshot.topic, topic))),
    }
    content = None if snapshot.content is None else snapshot.content.of_more(posts)
    return assemble_snapshot(posts, states, snapshot.as_of_us, snapshot.version, content)


def _row_of_key(column: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """A row of `column` for each key, -1 where it has none."""
    if len(column) == 0:
        return np.full(len(keys), -1, np.int64)
    order = np.argsort(column, kind="stable")
    place = np.minimum(np.searchsorted(column, keys, sorter=order), len(column) - 1)
    return np.where(column[order[place]] == keys, order[place], -1)
