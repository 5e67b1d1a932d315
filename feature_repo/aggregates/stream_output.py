"""What the stream worker shows the world: fresh rows in Feast's online store, fresh snapshots, and how far it got."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa

from feature_repo.aggregates.families import FAMILIES, FAMILY_OF
from feature_repo.aggregates.ranking_projection import packed_cells, ranking_states
from feature_repo.aggregates.ranking_state import Key
from feature_repo.aggregates.stream_apply import Topics
from feature_repo.aggregates.stream_histories import stored_exposures
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.blocks import States
from feature_repo.bulk_online.writer import open_bulk_writer
from feature_repo.event_log import first_topics, read_table
from feature_repo.lake import Lake
from feature_repo.profiles import post_profiles, unknown_post_profile, unknown_user_profile, user_profiles
from feature_repo.snapshot import ENTITIES, assemble_snapshot, publish
from infra.settings import Settings
from infra.storage import replace_atomically

WRITE_KEYS = 4_000  # keys per online write: what readers and the next events wait for at most
PROGRESS_FILE = "progress.json"
_IDS = np.dtype([("a", np.int64), ("b", np.int64)])


class OnlineWriter:
    """Writes the newest values of touched keys to Feast's online store: users at once, the other families as a backlog."""

    def __init__(self, settings: Settings, lake: Lake, state: StreamState) -> None:
        self._state = state
        self._open = ExitStack()
        self._writer = self._open.enter_context(open_bulk_writer(settings))
        users, posts = read_table([lake], "users"), read_table([lake], "posts")
        self._users, self._posts = users["user_id"].to_numpy(), posts["post_id"].to_numpy()
        self._user_profiles = np.concatenate([user_profiles(users), unknown_user_profile()])
        self._post_profiles = np.concatenate([post_profiles(posts), unknown_post_profile()])
        self._created_at = np.append(posts["created_at"].dt.epoch("us").to_numpy(), 0)
        self._waiting = {family.name: np.zeros(0, _IDS) for family in FAMILIES}

    def note(self, touched: dict[str, np.ndarray]) -> None:
        """Let the keys of touched cells (family -> row numbers) wait for their writing."""
        for family, rows in touched.items():
            if len(rows):
                keys = self._state.engine.tables[family].cells[rows][["a", "b"]].astype(_IDS)
                self._waiting[family] = np.unique(np.concatenate([self._waiting[family], keys]))

    def note_changed_since(self, at_us: int) -> int:
        """Let every key wait that an event at or after `at_us` touched; returns how many cells those are."""
        changed = {name: np.flatnonzero(table.cells["newest_us"] >= at_us) for name, table in self._state.engine.tables.items()}
        self.note(changed)
        return sum(len(rows) for rows in changed.values())

    @property
    def waiting(self) -> int:
        """Keys that wait, all families together."""
        return sum(len(keys) for keys in self._waiting.values())

    def write_users(self) -> int:
        """Write all waiting users; returns how many."""
        written = 0
        while len(self._waiting["user"]):
            written += self._write("user")
        return written

    def write_some(self, seconds: float) -> int:
        """Write waiting keys of any family for about `seconds`; returns how many."""
        ends, written = time.monotonic() + seconds, 0
        for family in FAMILIES:
            while len(self._waiting[family.name]):
                written += self._write(family.name)
                if time.monotonic() >= ends:
                    return written
        return written

    def close(self) -> None:
        """Close the connection to the store."""
        self._open.close()

    def _write(self, family: str) -> int:
        keys, self._waiting[family] = self._waiting[family][:WRITE_KEYS], self._waiting[family][WRITE_KEYS:]
        ids = [np.ascontiguousarray(keys[place]) for place in ("a", "b")[: len(FAMILY_OF[family].ids)]]
        table = self._state.engine.tables[family]
        packed, newest_us = packed_cells(table, *ids)
        self._writer.write_cells(family, ids, packed, newest_us)
        if family in set(Key):
            self._write_ranking(Key(family), ids[0])
        return len(keys)

    def _write_ranking(self, key: Key, ids: np.ndarray) -> None:
        states = ranking_states(self._state.engine.tables[key.value], ids)
        values: dict[str, Any] = {"state": states.state.astype(np.float32), "updated_at": states.updated_at}
        if key is Key.USER:
            values["profile"] = self._user_profiles[_rows_of(self._users, ids)]
            self._write_histories(ids)
        if key is Key.POST:
            rows = _rows_of(self._posts, ids)
            values |= {"profile": self._post_profiles[rows], "created_at": self._created_at[rows]}
        self._writer.write_rows(key.value, [ids], values, states.updated_at + 1)

    def _write_histories(self, ids: np.ndarray) -> None:
        rows = self._state.histories.rows_of(ids)
        histories = self._state.histories.rows[rows[rows >= 0]]
        histories = histories[histories["length"] > 0]
        values, ends = stored_exposures(histories)
        lists = pa.LargeListArray.from_arrays(pa.array(np.concatenate([[0], ends])), pa.array(values))
        self._writer.write_rows("user_history", [histories["user_id"].copy()], {"exposures": lists}, histories["newest_us"] + 1)


def _rows_of(known: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Row of each id in the ascending `known`, len(known) where it is absent."""
    place = np.searchsorted(known, ids)
    found = place < len(known)
    found[found] = known[place[found]] == ids[found]
    return np.where(found, place, len(known))


class SnapshotMirror:
    """The posts of the lake with their newest states in memory, so that a fresh snapshot costs no read."""

    def __init__(self, settings: Settings, lake: Lake, state: StreamState) -> None:
        self._settings = settings
        self._lake = lake
        self._state = state
        self._reload()

    def _reload(self) -> None:
        self._parts = self._post_parts()
        self._posts = read_table([self._lake], "posts")
        columns = {
            "post": self._posts["post_id"].to_numpy(),
            "author": self._posts["author_id"].to_numpy(),
            "topic": first_topics(self._posts)["topic"].to_numpy().astype(np.int64),
        }
        self.topics = Topics(self._posts)
        self._ids, self._row = {}, {}
        self._states: dict[str, States] = {}
        for name in ENTITIES:
            self._ids[name], self._row[name] = np.unique(columns[name], return_inverse=True)
            self._states[name] = ranking_states(self._state.engine.tables[name], self._ids[name])

    def refresh(self) -> None:
        """Take in posts that were added to the lake since the last look."""
        if self._post_parts() != self._parts:
            self._reload()

    def _post_parts(self) -> tuple:
        return tuple(sorted((file.name, file.stat().st_mtime_ns) for file in (self._lake.root / "posts").glob("*.parquet")))

    def update(self, touched: dict[str, np.ndarray]) -> None:
        """Take the new states of the keys of touched cells (family -> row numbers)."""
        for name in ENTITIES:
            known, table = self._ids[name], self._state.engine.tables[name]
            ids = np.unique(table.cells["a"][touched[name]])
            place = _rows_of(known, ids)
            held = place < len(known)
            if held.any():
                states = ranking_states(table, ids[held])
                self._states[name].state[place[held]] = states.state
                self._states[name].updated_at[place[held]] = states.updated_at

    def publish(self, as_of_us: int) -> str:
        """Publish a snapshot of the newest states; returns its version."""
        states = {}
        for name in ENTITIES:
            gathered = self._states[name].take(self._row[name])
            states[name] = States(gathered.state.astype(np.float32), gathered.updated_at)
        snapshot = assemble_snapshot(self._posts, states, as_of_us)
        publish(self._settings, snapshot)
        return snapshot.version


def write_progress(settings: Settings, state: StreamState, snapshot: str | None, waiting: int) -> None:
    """Tell others how far the stream is: all before `offsets` (next per partition) is saved, its users online."""
    content = {
        "offsets": {str(partition): following for partition, following in state.offsets().items()},
        "newest_event_us": state.number("newest_event_us"),
        "applied": state.number("applied") or 0,
        "snapshot": snapshot,
        "waiting": waiting,
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
