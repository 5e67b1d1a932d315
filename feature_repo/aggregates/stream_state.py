"""What the stream worker must never lose: cells, histories, applied event ids, offsets, keys that wait for their online row.

They live in memory and are saved together. A save writes the rows that changed since the last one to a new file, and one
SQLite transaction then makes its sections, the offsets and all numbers the valid ones: after a kill the state is that of one
save, whole, with the offsets that belong to it, and the worker reads on from there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from feature_repo.aggregates.cell_table import CellTable, as_words
from feature_repo.aggregates.cells import CELL
from feature_repo.aggregates.event_ids import ID, EventIds
from feature_repo.aggregates.stream_engine import StreamEngine
from feature_repo.aggregates.stream_histories import HISTORY, StreamHistories
from feature_repo.aggregates.stream_seeded import SEEDED, STATE_FILE

WAITING = np.dtype([("family", np.uint8), ("a", np.int64), ("b", np.int64)])  # family: place in FAMILIES
MOST_USERS = 1 << 24
MOST_IDS = 1 << 28
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS offsets (
    partition INTEGER PRIMARY KEY, next INTEGER NOT NULL, generation INTEGER NOT NULL, newest_us INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS sections (
    seq INTEGER NOT NULL, part TEXT NOT NULL, start INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (seq, part)
);
"""
_REWRITE_FROM = 64 << 20  # bytes of superseded rows that are worth writing a part anew
_MOST_SECTIONS = 256  # of one part; beyond it, small saves have left too many files


# Grows with every change of what saved rows mean, also where their length stays: 2 since exposures carry their dwell,
# 3 since histories keep the actions that have an exposure too.
STATE_LAYOUT = 3


class StateDamaged(RuntimeError):
    """A file that the last save wrote is not there as it was written."""


class StateOutdated(StateDamaged):
    """Another version saved the state: its rows cannot be read as this one's."""


class Part(Protocol):
    """A table of the state that can be saved row by row."""

    def restore(self, rows: np.ndarray) -> None: ...


@dataclass(frozen=True)
class Position:
    """How far one partition's log was applied."""

    following: int  # the next offset to read
    generation: int = 0  # how often the log was found lost and begun anew
    newest_us: int = 0  # time of the newest event applied


@dataclass(frozen=True)
class Captured:
    """What a save holds: nothing of it changes any more."""

    parts: list[tuple[str, np.ndarray, bool]]  # part, rows to write, whether they replace all that was written of it before
    positions: dict[int, Position]
    numbers: dict[str, int]


class StreamState:
    """The state under one folder. One process at a time; not for several threads, but for `write`."""

    def __init__(self, folder: Path, threads: int = 2, *, features: bool = True) -> None:
        """Without `features` saved cells, histories and waiting keys are forgotten unread: for a caller that replaces them."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._connection = sqlite3.connect(folder / STATE_FILE, timeout=30, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        # A crash of the machine may lose the newest saves, never split one: offsets and state go back together.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_TABLES)
        self._require_layout()
        self._threads = threads
        self._load(features)
        if not features:
            self.clear_features()

    def _load(self, features: bool) -> None:
        self.engine = StreamEngine(self._threads)
        self.histories = StreamHistories(MOST_USERS)
        self.ids = EventIds(MOST_IDS)
        self._numbers: dict[str, int] = dict(self._connection.execute("SELECT name, value FROM meta"))
        rows = self._connection.execute("SELECT partition, next, generation, newest_us FROM offsets ORDER BY partition")
        self.positions = {partition: Position(*rest) for partition, *rest in rows}
        self.waiting = np.zeros(0, WAITING)  # keys whose newest cells are not online yet; kept by the next save
        self.unplaced = np.zeros(0, np.int64)  # posts with events that were applied before the post was known, ascending
        self._unlink_unknown()
        sections = "SELECT seq, part, start, bytes FROM sections ORDER BY seq"
        for sequence, part, start, size in list(self._connection.execute(sections)):
            if not features and part != self.ids.name:
                continue
            rows = self._section(sequence, part, start, size)
            if part == _WAITING:
                self.waiting = rows
            elif part == _UNPLACED:
                self.unplaced = rows
            else:
                self._parts[part].restore(rows)

    def _require_layout(self) -> None:
        """Note the layout in a state that holds no rows yet. Raises StateOutdated where rows of another one are saved."""
        saved = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if saved == STATE_LAYOUT:
            return
        if self._connection.execute("SELECT count(*) FROM sections").fetchone()[0]:
            self._connection.close()
            raise StateOutdated(
                f"{self._folder / STATE_FILE} was saved in layout {saved}, this version reads layout {STATE_LAYOUT}; "
                f"remove the folder {self._folder} and run `mixer run features`"
            )
        self._connection.execute(f"PRAGMA user_version={STATE_LAYOUT}")

    def _section(self, sequence: int, part: str, start: int, size: int) -> np.ndarray:
        file, layout = self._file(sequence), _LAYOUT.get(part, CELL)
        if not file.exists() or file.stat().st_size < start + size:
            raise StateDamaged(f"{file} is missing or cut short; remove the folder {self._folder} and run `mixer run features`")
        return np.fromfile(file, layout, count=size // layout.itemsize, offset=start)

    def _file(self, sequence: int) -> Path:
        return self._folder / f"rows-{sequence}.bin"

    def _unlink_unknown(self) -> None:
        """Remove files without a valid section: superseded ones, and that of a save that was killed before its transaction."""
        known = {self._file(sequence) for (sequence,) in self._connection.execute("SELECT DISTINCT seq FROM sections")}
        for file in self._folder.glob("rows-*.bin"):
            if file not in known:
                file.unlink()

    @property
    def _parts(self) -> dict[str, Part]:
        return {**self.engine.tables, self.histories.name: self.histories, self.ids.name: self.ids}

    def close(self) -> None:
        """Close the file; what was not saved is lost."""
        self.engine.close()
        self._connection.close()

    def number(self, name: str) -> int | None:
        """A remembered number, None before it was set."""
        return self._numbers.get(name)

    def set_number(self, name: str, value: int) -> None:
        """Remember a number; kept by the next save."""
        self._numbers[name] = value

    def offsets(self) -> dict[int, int]:
        """Next offset to read, per partition."""
        return {partition: position.following for partition, position in self.positions.items()}

    def clear_features(self) -> None:
        """Forget cells, histories and waiting keys, before seeding: until the next save the state counts as not seeded.

        Offsets, ids and other numbers stay.
        """
        self.engine.close()
        self.engine = StreamEngine(self._threads)
        self.histories = StreamHistories(MOST_USERS)
        self._numbers[SEEDED] = 0
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, 0)", (SEEDED,))
            self._drop_sections({*self.engine.tables, self.histories.name, _WAITING, _UNPLACED})
        self.waiting = np.zeros(0, WAITING)
        self.unplaced = np.zeros(0, np.int64)
        self._unlink_unknown()

    def let_all_wait(self) -> None:
        """Let every key wait for its online row, after seeding: the store may hold older values, or none."""
        kept = []
        for place, table in enumerate(self.engine.tables.values()):
            cells, keys = table.cells, np.empty(len(table), WAITING)
            keys["family"], keys["a"], keys["b"] = place, cells["a"], cells["b"]
            kept.append(keys)
        self.waiting = np.concatenate(kept)  # a key as often as it has cells

    # ---- saving ------------------------------------------------------------------------------------------------------
    def save(self) -> int:
        """Make the present state the one that a restart finds; returns the bytes written."""
        return self._write(self._unsaved(copied=False), self.positions, self._numbers)

    def capture(self) -> Captured:
        """Copy what changed since the last call. What is captured must be written, before anything else is captured."""
        return Captured(list(self._unsaved(copied=True)), dict(self.positions), dict(self._numbers))

    def write(self, captured: Captured) -> int:
        """Make what was captured the state that a restart finds; returns the bytes written.

        For any thread, one at a time: the state may go on changing meanwhile.
        """
        return self._write(captured.parts, captured.positions, captured.numbers)

    def _write(
        self, parts: Iterable[tuple[str, np.ndarray, bool]], positions: Mapping[int, Position], numbers: Mapping[str, int]
    ) -> int:
        sequence = (self._connection.execute("SELECT max(seq) FROM sections").fetchone()[0] or 0) + 1
        replaced: set[str] = set()
        sections: list[tuple[int, str, int, int]] = []
        with self._file(sequence).open("wb") as file:
            for part, rows, whole in parts:
                replaced |= {part} if whole else set()
                if len(rows):
                    sections.append((sequence, part, file.tell(), rows.nbytes))
                    file.write(memoryview(rows).cast("B"))
            file.flush()
            os.fsync(file.fileno())
        with self._transaction():
            self._drop_sections(replaced)
            self._connection.executemany("INSERT INTO sections VALUES (?, ?, ?, ?)", sections)
            offsets = ((key, one.following, one.generation, one.newest_us) for key, one in positions.items())
            self._connection.executemany("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?, ?)", offsets)
            self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", numbers.items())
        if replaced or not sections:
            self._unlink_unknown()
        return sum(size for *_, size in sections)

    def forget_ids_before(self, at_us: int) -> int:
        """Forget the ids of older events; the next save writes the rest anew. Returns how many went."""
        gone = self.ids.forget_before(at_us)
        self._rewrite_ids = bool(gone) or self._rewrite_ids
        return gone

    _rewrite_ids = False

    def _unsaved(self, *, copied: bool) -> Iterator[tuple[str, np.ndarray, bool]]:
        """(part, the rows to write, whether they replace all that was written of the part before).

        Rows that are not `copied` change with the state: they must be written before the next are asked for.
        """
        query = "SELECT part, sum(bytes), count(*) FROM sections GROUP BY part"
        held = {part: (size, count) for part, size, count in self._connection.execute(query)}
        tables: list[tuple[str, CellTable | StreamHistories, np.ndarray]]
        tables = [(name, table, table.cells) for name, table in self.engine.tables.items()]
        tables.append((self.histories.name, self.histories, self.histories.rows))
        for name, table, rows in tables:
            changed = table.unsaved_rows()
            size, count = held.get(name, (0, 0))
            superseded = size + len(changed) * rows.itemsize - rows.nbytes
            too_scattered = superseded > max(rows.nbytes, _REWRITE_FROM) or count >= _MOST_SECTIONS
            whole = too_scattered or 0 < len(changed) == len(rows)
            words = as_words(rows)
            if whole:
                yield name, words.copy() if copied else words, True
            else:  # `take`, because an index of anything but int64 is slow in brackets: six times
                yield name, np.take(words, np.sort(changed), axis=0), False
        new = self.ids.unsaved()
        whole = self._rewrite_ids or held.get(self.ids.name, (0, 0))[1] >= _MOST_SECTIONS
        self._rewrite_ids = False
        yield self.ids.name, (self.ids.ids.copy() if copied else self.ids.ids) if whole else new, whole
        yield _WAITING, self.waiting, True  # no copies: the worker puts new arrays in their places, and changes none
        yield _UNPLACED, self.unplaced, True

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _drop_sections(self, parts: set[str]) -> None:
        self._connection.executemany("DELETE FROM sections WHERE part = ?", [(part,) for part in parts])


_WAITING = "waiting"
_UNPLACED = "unplaced"
_LAYOUT = {StreamHistories.name: HISTORY, EventIds.name: ID, _WAITING: WAITING, _UNPLACED: np.dtype(np.int64)}
