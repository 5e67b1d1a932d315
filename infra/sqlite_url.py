"""Database URLs of SQLite files, whatever stands in the names of their folders."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, unquote

_URI = "file:"


def sqlite_url(file: Path, driver: str = "sqlite") -> str:
    """SQLAlchemy URL of `file`, which must be absolute.

    SQLAlchemy reads everything after a "?" as options and knows no escape for it, so such a path is given as SQLite's own
    `file:` URI, in which it is percent-encoded.
    """
    if "?" not in str(file):
        return f"{driver}:///{file}"
    return f"{driver}:///{_URI}{quote(str(file))}?uri=true"


def file_of(database: str) -> Path:
    """The file behind the database part of a SQLite URL, in either form."""
    return Path(unquote(database.removeprefix(_URI)) if database.startswith(_URI) else database)
