"""Feast's online store as a place: its project name and, for SQLite, its file. Without Feast."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from infra.settings import Settings

PROJECT = "home_mixer"
PAGE_BYTES = 8_192  # measured for rows of 0.5-2 kB: larger pages load faster, smaller ones take single updates faster


def online_file(settings: Settings) -> Path:
    """File of the SQLite online store."""
    return settings.paths.features / "online.db"


def share_between_processes(file: Path) -> None:
    """Make the SQLite `file`, or put it, in write-ahead mode, a property of the file: readers then never wait for a writer.

    Feast opens the file in SQLite's default mode, in which a reader meets `database is locked` while another process writes.
    """
    with sqlite3.connect(file, timeout=30) as connection:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")  # of a new file; one that has pages keeps their size
            connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
