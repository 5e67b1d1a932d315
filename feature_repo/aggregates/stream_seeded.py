"""Whether the stream worker has a state to work on; read without what opening the state takes."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from infra.settings import Settings

STATE_FILE = "state.db"
SEEDED = "seeded"  # a number of the state, not 0 once the features flow has seeded it


def is_seeded(settings: Settings) -> bool:
    """False before the first features flow."""
    file = settings.paths.stream / STATE_FILE
    if not file.exists():
        return False
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            return False
        found = connection.execute("SELECT value FROM meta WHERE name = ?", (SEEDED,)).fetchone()
    return found is not None and bool(found[0])
