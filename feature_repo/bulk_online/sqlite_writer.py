"""Bulk writes into the tables of Feast's SqliteOnlineStore: one transaction a call, in the order of the table's keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

import numpy as np

from feature_repo.bulk_online.stored_rows import StoredRows

LOCK_TIMEOUT_S = 30.0  # how long to wait for another writer's transaction
CACHE_KIB = 65_536
LOG_PAGES = 16_384  # the write-ahead log grows to so many pages before they are moved into the file: each is moved once then
PARAMETERS = 320  # of one statement: a statement that upserts many keys costs half of one that upserts one
_QUARTER_US = 15 * 60 * 1_000_000  # a time zone's offset changes at quarters of an hour only


class OnlineTableMissing(LookupError):
    """The view has no table in the online store."""


class SqliteWriter:
    """Writes encoded rows into the online file `file` of Feast project `project`. For one thread; close it after use.

    Raises OnlineTableMissing where there is no such file.
    """

    def __init__(self, file: Path, project: str) -> None:
        if not file.exists():
            raise OnlineTableMissing(f"there is no online store {file}; apply the definitions first")
        self._file = file
        self._project = project
        # Transactions are opened and closed by hand: one a call.
        self._connection = sqlite3.connect(file, timeout=LOCK_TIMEOUT_S, isolation_level=None)
        self._connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        # In write-ahead mode this can lose the last commits to a power cut, never the file: the next materialisation or the
        # stream worker's next write brings them back.
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def write(self, rows: StoredRows) -> int:
        """Insert `rows`, replacing what their keys held; returns how many. Readers see all of them at once, or none.

        Raises OnlineTableMissing where `apply` has not made the view's table.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._upsert(rows)
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if "no such table" in str(error):
                raise OnlineTableMissing(
                    f"{self._file} has no table for view {rows.view!r}; apply the definitions first"
                ) from error
            raise
        return len(rows)

    def close(self) -> None:
        self._connection.close()

    def _upsert(self, rows: StoredRows) -> None:
        columns, names = _columns(rows)
        values = chain.from_iterable(zip(*columns, strict=True))
        width = len(columns)
        each = max(1, PARAMETERS // width)
        whole = len(rows) // each
        table = f"{self._project}_{rows.view}"
        self._connection.executemany(
            _statement(table, names, each), (tuple(islice(values, each * width)) for _ in range(whole))
        )
        if left := len(rows) - whole * each:
            self._connection.execute(_statement(table, names, left), tuple(values))


def _columns(rows: StoredRows) -> tuple[list[Sequence], list[tuple[str, bool]]]:
    """The parameters of a key's rows, column by column: key, stamp, then each feature's value and, where it has one, text.

    Beside them the features' names and whether each has a text.
    """
    columns: list[Sequence] = [rows.keys, stored_stamps(rows.stamps_us)]
    for feature in rows.features:
        columns += [feature.values] if feature.texts is None else [feature.values, feature.texts]
    return columns, [(feature.name, feature.texts is not None) for feature in rows.features]


def _statement(table: str, features: list[tuple[str, bool]], keys: int) -> str:
    """Upsert of `keys` keys with all their features."""
    tuples, place = [], 0
    for _ in range(keys):
        key, stamp = place + 1, place + 2
        place += 2
        for name, has_text in features:
            text = f"?{place + 2}" if has_text else "NULL"
            tuples.append(f"(?{key}, '{name}', ?{place + 1}, {text}, ?{stamp}, NULL)")
            place += 1 + has_text
    return (
        f'INSERT INTO "{table}" (entity_key, feature_name, value, value_text, event_ts, created_ts) VALUES {", ".join(tuples)} '
        "ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = excluded.value, value_text = excluded.value_text, "
        "event_ts = excluded.event_ts, created_ts = excluded.created_ts"
    )


def stored_stamps(stamps_us: np.ndarray) -> list[int]:
    """Event times (n,) in microseconds UTC as Feast's store keeps them: whole seconds, shifted by the local time zone.

    Feast hands sqlite3 a UTC time without its zone, which is taken for local time; reading shifts it back.
    """
    quarters, inverse = np.unique(stamps_us // _QUARTER_US, return_inverse=True)
    shifts = [_local_shift_s(int(quarter) * _QUARTER_US // 1_000_000) for quarter in quarters]
    return (stamps_us // 1_000_000 + np.array(shifts, np.int64)[inverse]).tolist()


def _local_shift_s(second: int) -> int:
    naive = datetime.fromtimestamp(second, UTC).replace(tzinfo=None)
    return round(naive.timestamp()) - second
