"""What the stream worker shows the world: fresh rows in Feast's online store, fresh snapshots, and how far it got."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.aggregates.catalogue import Key
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.blocks import States
from feature_repo.event_log import first_topics, read_table
from feature_repo.feature_store import open_store
from feature_repo.lake import Lake
from feature_repo.profiles import post_profiles, unknown_post_profile, unknown_user_profile, user_profiles
from feature_repo.snapshot import ENTITIES, assemble_snapshot, publish
from feature_repo.sources import TIMESTAMP
from infra.settings import Settings
from infra.storage import replace_atomically

if TYPE_CHECKING:
    import pandas as pd

WRITE_ROWS = 2_000  # rows per online write: one transaction of the SQLite store
PROGRESS_FILE = "progress.json"
_EPOCH = datetime.fromtimestamp(0, UTC)


class OnlineWriter:
    """Writes the newest values of unwritten keys to Feast's online store."""

    def __init__(self, settings: Settings, lake: Lake, state: StreamState) -> None:
        self._store = open_store(settings)
        self._state = state
        users, posts = read_table([lake], "users"), read_table([lake], "posts")
        self._user_row = {user_id: row for row, user_id in enumerate(users["user_id"].to_list())}
        self._user_profiles = np.concatenate([user_profiles(users), unknown_user_profile()])
        self._post_row = {post_id: row for row, post_id in enumerate(posts["post_id"].to_list())}
        self._post_profiles = np.concatenate([post_profiles(posts), unknown_post_profile()])
        self._created_at = [*posts["created_at"].dt.epoch("us").to_list(), 0]

    def write(self, *keys: Key) -> int:
        """Write all unwritten keys of the given kinds; returns how many."""
        written = 0
        for key in keys:
            ids = self._state.unwritten(key)
            for start in range(0, len(ids), WRITE_ROWS):
                self._write(key, ids[start : start + WRITE_ROWS])
            written += len(ids)
        return written

    def _write(self, key: Key, ids: list[int]) -> None:
        states = self._state.states(key, ids)
        self._store.write_to_online_store(key.value, self._rows(key, ids, states))
        if key is Key.USER:
            self._write_histories(ids, states)
        with self._state.transaction():
            self._state.mark_written(key, ids)

    def _rows(self, key: Key, ids: list[int], states: States) -> pd.DataFrame:
        columns: dict[str, Any] = {
            "state": list(states.state.astype(np.float32)),
            "updated_at": states.updated_at,
        }
        if key is Key.USER:
            columns["profile"] = [self._user_profiles[self._user_row.get(one, -1)] for one in ids]
        if key is Key.POST:
            rows = [self._post_row.get(one, -1) for one in ids]
            columns |= {"profile": list(self._post_profiles[rows]), "created_at": [self._created_at[row] for row in rows]}
        return _frame(key, ids, columns, states.updated_at)

    def _write_histories(self, ids: list[int], states: States) -> None:
        histories = self._state.histories(ids)
        stored = [histories[one].stored() for one in ids]
        shown = [index for index, one in enumerate(stored) if one]
        if shown:
            columns = {"exposures": [stored[index] for index in shown]}
            rows = _frame(Key.USER, [ids[index] for index in shown], columns, states.updated_at[shown])
            self._store.write_to_online_store("user_history", rows)


def _frame(key: Key, ids: list[int], columns: dict[str, Any], updated_at: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    stamps = [_EPOCH + timedelta(microseconds=int(at) + 1) for at in updated_at]
    return pd.DataFrame({key.column: ids, **columns, TIMESTAMP: stamps})


class SnapshotMirror:
    """The posts of the lake with their newest states in memory, so that a fresh snapshot costs no read."""

    def __init__(self, settings: Settings, lake: Lake, state: StreamState) -> None:
        self._settings = settings
        self._lake = lake
        self._state = state
        self._parts: tuple = ()
        self._reload()

    def _reload(self) -> None:
        self._parts = self._post_parts()
        self._posts = read_table([self._lake], "posts")
        columns = {
            "post": self._posts["post_id"].to_numpy(),
            "author": self._posts["author_id"].to_numpy(),
            "topic": first_topics(self._posts)["topic"].to_numpy().astype(np.int64),
        }
        self.topics: dict[int, int] = dict(first_topics(self._posts).iter_rows())
        self._ids, self._row = {}, {}
        self._states: dict[str, States] = {}
        for name in ENTITIES:
            self._ids[name], self._row[name] = np.unique(columns[name], return_inverse=True)
            self._states[name] = self._state.states(Key(name), self._ids[name].tolist())

    def refresh(self) -> None:
        """Take in posts that were added to the lake since the last look."""
        if self._post_parts() != self._parts:
            self._reload()

    def _post_parts(self) -> tuple:
        return tuple(sorted((file.name, file.stat().st_mtime_ns) for file in (self._lake.root / "posts").glob("*.parquet")))

    def update(self, touched: dict[Key, tuple[np.ndarray, States]]) -> None:
        """Take the new states of the keys that a batch touched; a batch of repeated events touched none."""
        for name in ENTITIES:
            if Key(name) not in touched:
                continue
            ids, states = touched[Key(name)]
            known = self._ids[name]
            if len(known) == 0 or len(ids) == 0:
                continue
            place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
            held = known[place] == ids
            self._states[name].state[place[held]] = states.state[held]
            self._states[name].updated_at[place[held]] = states.updated_at[held]

    def publish(self, as_of_us: int) -> str:
        """Publish a snapshot of the newest states; returns its version."""
        states = {}
        for name in ENTITIES:
            gathered = self._states[name].take(self._row[name])
            states[name] = States(gathered.state.astype(np.float32), gathered.updated_at)
        snapshot = assemble_snapshot(self._posts, states, as_of_us)
        publish(self._settings, snapshot)
        return snapshot.version


def write_progress(settings: Settings, state: StreamState, snapshot: str | None, *, offsets: dict[int, int]) -> None:
    """Tell others how far the stream is: `offsets` (next per partition) are applied and visible online."""
    content = {
        "offsets": {str(partition): following for partition, following in offsets.items()},
        "newest_event_us": state.number("newest_event_us"),
        "applied": state.number("applied") or 0,
        "snapshot": snapshot,
        "written_at": time.time(),
    }
    with replace_atomically(settings.paths.stream / PROGRESS_FILE) as temporary:
        temporary.write_text(json.dumps(content))


def read_progress(settings: Settings) -> dict[str, Any] | None:
    """What `write_progress` wrote last, None before the first."""
    try:
        return json.loads((settings.paths.stream / PROGRESS_FILE).read_text())
    except FileNotFoundError:
        return None
