"""What the stream worker must never lose, in one SQLite file: states, histories, offsets, seen event ids, unwritten keys.

Everything that one micro-batch changes is committed in one transaction together with its Kafka offsets: after a kill the
file holds a batch whole or not at all, and the worker reads on from the offsets that belong to the state.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from feature_repo.aggregates.catalogue import STATE_WIDTH, Key
from feature_repo.aggregates.stream_history import StreamHistory
from feature_repo.blocks import States

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS offsets (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS seen (event BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS states (
    key TEXT, id INTEGER, updated_at INTEGER NOT NULL, state BLOB NOT NULL, PRIMARY KEY (key, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS histories (user_id INTEGER PRIMARY KEY, history BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS unwritten (key TEXT, id INTEGER, PRIMARY KEY (key, id)) WITHOUT ROWID;
"""
_CHUNK = 900  # bound variables per statement


class StreamState:
    """The state file. One writer at a time; not for several threads."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(file, timeout=30, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        # A crash of the machine may lose the newest transactions, never split one: offsets and state go back together.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    # ---- meta and offsets --------------------------------------------------------------------------------------------
    def number(self, name: str) -> int | None:
        """A remembered number, None before it was set."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def set_number(self, name: str, value: int) -> None:
        """Remember a number."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def offsets(self) -> dict[int, int]:
        """Next offset to read, per partition."""
        return dict(self._connection.execute("SELECT partition, next FROM offsets ORDER BY partition"))

    def generations(self) -> dict[int, int]:
        """How often each partition's log was found to have been lost and begun anew."""
        return dict(self._connection.execute("SELECT partition, generation FROM offsets"))

    def set_offset(self, partition: int, following: int, generation: int = 0) -> None:
        """Remember the next offset to read of a partition."""
        self._connection.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?)", (partition, following, generation))

    # ---- seen events -------------------------------------------------------------------------------------------------
    def first_seen(self, event_ids: Iterable[str]) -> list[bool]:
        """Remember the ids; True for those that were not known before (a repeat within the call counts as known)."""
        cursor = self._connection.cursor()
        digests = [hashlib.blake2b(event_id.encode(), digest_size=16).digest() for event_id in event_ids]
        return [cursor.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1 for digest in digests]

    # ---- states ------------------------------------------------------------------------------------------------------
    def states(self, key: Key, ids: Sequence[int]) -> States:
        """States of `ids`, float64, in their order; ids that were never seen get the empty state."""
        empty = States.empty(len(ids))
        states = States(empty.state.astype(np.float64), empty.updated_at)
        row_of = {identity: row for row, identity in enumerate(ids)}
        query = "SELECT id, updated_at, state FROM states WHERE key = ? AND id IN ({})"
        for identity, updated_at, blob in self._by_id(query, list(row_of), key.value):
            states.state[row_of[identity]] = np.frombuffer(blob, np.float64)
            states.updated_at[row_of[identity]] = updated_at
        return states

    def put_states(self, key: Key, ids: Sequence[int], states: States) -> None:
        """Replace the states of `ids`. Raises ValueError where the width is not the catalogue's."""
        packed = np.ascontiguousarray(states.state, np.float64)
        if packed.shape != (len(ids), STATE_WIDTH):
            raise ValueError(
                f"{key.value}: states of shape {packed.shape} for {len(ids)} ids, {STATE_WIDTH} columns are wanted"
            )
        rows = (
            (key.value, int(identity), int(at), row.tobytes())
            for identity, at, row in zip(ids, states.updated_at, packed, strict=True)
        )
        self._connection.executemany("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?)", rows)

    # ---- histories ---------------------------------------------------------------------------------------------------
    def histories(self, user_ids: Sequence[int]) -> dict[int, StreamHistory]:
        """Histories of `user_ids`; an empty one for users that were never seen."""
        found = {user_id: StreamHistory() for user_id in user_ids}
        query = "SELECT user_id, history FROM histories WHERE user_id IN ({})"
        for user_id, blob in self._by_id(query, list(found)):
            found[user_id] = StreamHistory.from_bytes(blob)
        return found

    def put_histories(self, histories: Mapping[int, StreamHistory]) -> None:
        """Replace the histories of some users."""
        self.put_packed_histories((int(user_id), history.to_bytes()) for user_id, history in histories.items())

    def put_packed_histories(self, rows: Iterable[tuple[int, bytes]]) -> None:
        """Replace histories that are in their stored form already."""
        self._connection.executemany("INSERT OR REPLACE INTO histories VALUES (?, ?)", rows)

    # ---- keys whose newest values are not in the online store yet ----------------------------------------------------
    def mark_unwritten(self, key: Key, ids: Iterable[int]) -> None:
        """Note that the online values of `ids` are behind."""
        self._connection.executemany("INSERT OR IGNORE INTO unwritten VALUES (?, ?)", ((key.value, int(one)) for one in ids))

    def mark_changed_since(self, at_us: int) -> int:
        """Mark every key whose newest event is not before `at_us`; returns how many."""
        query = "INSERT OR IGNORE INTO unwritten SELECT key, id FROM states WHERE updated_at >= ?"
        return self._connection.execute(query, (at_us,)).rowcount

    def unwritten(self, key: Key) -> list[int]:
        """Ids whose online values are behind, ascending."""
        return [row[0] for row in self._connection.execute("SELECT id FROM unwritten WHERE key = ? ORDER BY id", (key.value,))]

    def mark_written(self, key: Key, ids: Iterable[int]) -> None:
        """Note that the online values of `ids` are the newest."""
        self._connection.executemany("DELETE FROM unwritten WHERE key = ? AND id = ?", ((key.value, int(one)) for one in ids))

    def clear_features(self) -> None:
        """Forget states and histories, before seeding; offsets and seen ids stay."""
        for table in ("states", "histories", "unwritten"):
            self._connection.execute(f"DELETE FROM {table}")

    def _by_id(self, query: str, ids: list[int], *first: str) -> Iterator[tuple]:
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            yield from self._connection.execute(query.format(",".join("?" * len(chunk))), (*first, *chunk))
