"""What the stream worker shows the world: fresh rows in Feast's online store, fresh snapshots, and how far it got."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from feature_repo.aggregates.cell_table import as_words
from feature_repo.aggregates.families import FAMILIES, FAMILY_OF
from feature_repo.aggregates.late_posts import fill_topics
from feature_repo.aggregates.ranking_projection import packed_cells, ranking_states, rows_of_keys
from feature_repo.aggregates.ranking_state import Key
from feature_repo.aggregates.stream_histories import HISTORY, stored_exposures
from feature_repo.aggregates.stream_profiles import StreamProfiles, rows_of_ids
from feature_repo.aggregates.stream_state import WAITING, StreamState
from feature_repo.aggregates.topics import Topics
from feature_repo.aggregates.waiting_cells import WaitingCells
from feature_repo.blocks import States
from feature_repo.bulk_online.writer import open_bulk_writer
from feature_repo.content import Content
from feature_repo.event_log import first_topics, read_table
from feature_repo.lake import Lake
from feature_repo.snapshot import ENTITIES, assemble_snapshot, publish
from infra.settings import Settings
from infra.storage import replace_atomically

USER_CELLS = 32_000  # in one write of users: small enough for the first to be seen soon
BACKLOG_CELLS = 12_000  # in one write of other families: what a user's row waits for
UNDER_WAY = 2  # writes that may be begun and not done
PROGRESS_FILE = "progress.json"
_PLACE = {family.name: place for place, family in enumerate(FAMILIES)}


class OnlineWriter:
    """Writes the newest values of touched keys to Feast's online store: users at once, the other families as a backlog.

    Values are copied out of the state by the caller's thread and written by another one, a few writes behind. For one caller.
    """

    def __init__(self, settings: Settings, lake: Lake, state: StreamState) -> None:
        self._state = state
        self._profiles = StreamProfiles(lake)
        self._waiting = {family.name: WaitingCells() for family in FAMILIES}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="online-writer")
        self._open = ExitStack()
        # Opened in its thread: SQLite's connections belong to one.
        self._writer = self._thread.submit(lambda: self._open.enter_context(open_bulk_writer(settings))).result()
        self._under_way: deque[Future] = deque()  # in the order in which they are done
        self._take_over(state.waiting)

    def note(self, touched: dict[str, np.ndarray]) -> None:
        """Let the keys of touched cells (family -> row numbers) wait for their writing."""
        for family, rows in touched.items():
            self._waiting[family].add(rows)

    def refresh(self) -> None:
        """Take in users and posts that the lake got since the last look: their rows wait to be written with what they are."""
        for key, ids in self._profiles.refresh().items():
            self._waiting[key.value].add(rows_of_keys(self._state.engine.tables[key.value], np.ascontiguousarray(ids)))

    def note_users(self, user_ids: np.ndarray) -> None:
        """Let the rows of these users (int64 (n,)) wait for their writing."""
        self._waiting["user"].add(rows_of_keys(self._state.engine.tables["user"], np.ascontiguousarray(user_ids)))

    def note_changed_since(self, at_us: int) -> int:
        """Let every key wait that an event at or after `at_us` touched; returns how many cells those are."""
        changed = {name: np.flatnonzero(table.cells["newest_us"] >= at_us) for name, table in self._state.engine.tables.items()}
        self.note(changed)
        return sum(len(rows) for rows in changed.values())

    @property
    def waiting(self) -> int:
        """Cells whose newest values are neither online nor on their way there, all families together."""
        return sum(map(len, self._waiting.values()))

    def write_users(self) -> int:
        """Begin to write all waiting users; returns how many."""
        written = 0
        while len(self._waiting["user"]):
            written += self._write("user", USER_CELLS)
        return written

    def write_some(self, seconds: float, *, patient: bool = True) -> int:
        """Begin to write waiting keys of any family, for about `seconds`; returns how many.

        Not `patient`: one write at most, and only if none is under way, so that no user's row has to wait for several.
        """
        ends, written = time.monotonic() + seconds, 0
        for family in FAMILIES:
            while len(self._waiting[family.name]) and time.monotonic() < ends:
                self._collect(UNDER_WAY)
                if self._under_way and not patient:
                    return written
                written += self._write(family.name, BACKLOG_CELLS)
        return written

    def leave_to_state(self) -> list[Future]:
        """Let the state's next save keep the keys that still wait. Returns the writes under way: it has to wait for them."""
        kept = []
        for family, waiting in self._waiting.items():
            cells, rows = self._state.engine.tables[family].cells, waiting.rows
            keys = np.empty(len(rows), WAITING)
            keys["family"], keys["a"], keys["b"] = _PLACE[family], cells["a"][rows], cells["b"][rows]
            kept.append(keys)
        self._state.waiting = np.concatenate(kept)
        return list(self._under_way)

    def _take_over(self, left: np.ndarray) -> None:
        """Let the keys wait that the last run left (WAITING (n,), a key as often as it had cells waiting)."""
        for family in FAMILIES:
            table, waiting = self._state.engine.tables[family.name], self._waiting[family.name]
            keys = left[left["family"] == _PLACE[family.name]]
            if len(keys) == len(table):  # all of them, as after seeding
                waiting.add(np.arange(len(table)))
            else:
                waiting.add(rows_of_keys(table, *_different(*(keys[part] for part in ("a", "b")[: len(family.ids)]))))

    def close(self) -> None:
        """Finish what was begun, and close the connection to the store."""
        self._collect(0)
        self._thread.submit(self._open.close).result()
        self._thread.shutdown()

    def _collect(self, most: int) -> None:
        """Wait until at most `most` writes are under way, and forget those that are done. Raises what writing raised."""
        while self._under_way and (len(self._under_way) > most or self._under_way[0].done()):
            self._under_way.popleft().result()

    def _write(self, family: str, most: int) -> int:
        """Begin to write the keys of up to `most` waiting cells; returns how many keys."""
        waiting, table = self._waiting[family], self._state.engine.tables[family]
        some = waiting.some(most)
        ids = _keys(table.cells, some, len(FAMILY_OF[family].ids))
        found = packed_cells(table, *ids)
        waiting.remove(found.rows)  # all cells of these keys, noted in this round or not
        writes = [partial(self._writer.write_cells, family, ids, found.packed, found.newest_us)]
        if family in set(Key):
            writes += self._ranking_writes(Key(family), ids[0])
        self._collect(UNDER_WAY - 1)
        self._under_way.append(self._thread.submit(lambda: [write() for write in writes]))
        return len(found.packed)

    def _ranking_writes(self, key: Key, ids: np.ndarray) -> list[Callable[[], int]]:
        """What the ranker reads of these keys, ready to be written."""
        states = ranking_states(self._state.engine.tables[key.value], ids)
        values: dict[str, Any] = {"state": states.state.astype(np.float32), "updated_at": states.updated_at}
        values |= self._profiles.of(key, ids)
        writes = [self._history_write(ids)] if key is Key.USER else []
        stamps_us = states.updated_at + 1 + self._profiles.changes  # Redis keeps a row of the same moment
        return [*writes, partial(self._writer.write_rows, key.value, [ids], values, stamps_us)]

    def _history_write(self, ids: np.ndarray) -> Callable[[], int]:
        rows = self._state.histories.rows_of(ids)
        histories = as_words(self._state.histories.rows)[rows[rows >= 0]].view(HISTORY).reshape(-1)
        histories = histories[histories["length"] > 0]
        fill_topics(histories, self._profiles.topics)
        values, ends = stored_exposures(histories)
        lists = pa.LargeListArray.from_arrays(pa.array(np.concatenate([[0], ends])), pa.array(values))
        users, stamps_us = histories["user_id"].copy(), histories["newest_us"] + 1
        return partial(self._writer.write_rows, "user_history", [users], {"exposures": lists}, stamps_us)


def _keys(cells: np.ndarray, rows: np.ndarray, parts: int) -> list[np.ndarray]:
    """The different keys of the cells at `rows`, int64 (n,) for each of their parts."""
    return _different(*(cells[part][rows] for part in ("a", "b")[:parts]))


def _different(first: np.ndarray, second: np.ndarray | None = None) -> list[np.ndarray]:
    """The different keys among those of one part or two (int64 (n,) each), sorted."""
    if second is None:
        return [np.unique(first)]
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    new = np.ones(len(first), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return [first[new], second[new]]


class SnapshotMirror:
    """The posts of the lake with their newest states in memory, so that a fresh snapshot costs no read."""

    def __init__(self, settings: Settings, lake: Lake, state: StreamState) -> None:
        self._settings = settings
        self._lake = lake
        self._state = state
        self._touched = {name: WaitingCells() for name in ENTITIES}
        self._reload()

    def _reload(self) -> None:
        self._parts = self._post_parts()
        posts = read_table([self._lake], "posts", embeddings=True)
        self._content = Content.of(posts)
        self._posts = posts.drop("embedding")
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

    def note(self, touched: dict[str, np.ndarray]) -> None:
        """Let the next snapshot take the new states of the keys of touched cells (family -> row numbers)."""
        for name in ENTITIES:
            self._touched[name].add(touched[name])

    def _take_noted(self) -> None:
        for name, cells in self._touched.items():
            rows = cells.rows
            known, table = self._ids[name], self._state.engine.tables[name]
            ids = np.unique(table.cells["a"][rows])
            cells.remove(rows)
            place = rows_of_ids(known, ids)
            held = place < len(known)
            if held.any():
                states = ranking_states(table, ids[held])
                self._states[name].state[place[held]] = states.state
                self._states[name].updated_at[place[held]] = states.updated_at

    def publish(self, as_of_us: int) -> str:
        """Publish a snapshot of the newest states; returns its version."""
        self._take_noted()
        states = {}
        for name in ENTITIES:
            gathered = self._states[name].take(self._row[name])
            states[name] = States(gathered.state.astype(np.float32), gathered.updated_at)
        snapshot = assemble_snapshot(self._posts, states, as_of_us, content=self._content)
        publish(self._settings, snapshot)
        return snapshot.version


def progress_of(state: StreamState, snapshot: str | None, waiting: int) -> dict[str, Any]:
    """How far the stream is, to be told once that is saved: all before `offsets` (next per partition), its users online."""
    return {
        "offsets": {str(partition): following for partition, following in state.offsets().items()},
        "newest_event_us": state.number("newest_event_us"),
        "applied": state.number("applied") or 0,
        "unanswered": state.histories.unanswered,  # actions, applied or seeded, without an exposure that they answer
        "snapshot": snapshot,
        "waiting": waiting,
    }


def write_progress(settings: Settings, progress: dict[str, Any]) -> None:
    """Tell others."""
    with replace_atomically(settings.paths.stream / PROGRESS_FILE) as temporary:
        temporary.write_text(json.dumps({**progress, "written_at": time.time()}))


def read_progress(settings: Settings) -> dict[str, Any] | None:
    """What `write_progress` wrote last, None before the first."""
    try:
        return json.loads((settings.paths.stream / PROGRESS_FILE).read_text())
    except FileNotFoundError:
        return None
