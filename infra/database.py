"""The platform's own database (ledger, approvals, canary evidence): one engine per URL, one set of table definitions.

SQLite runs in WAL mode: readers never wait for the writer, and writers queue up to `BUSY_TIMEOUT_MS` for their turn.
PostgreSQL needs none of this and takes the same statements.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, make_url, text

from infra.sqlite_url import file_of

BUSY_TIMEOUT_MS = 15_000

# Constraint names are fixed, so that a migration tool can refer to them.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


@lru_cache(maxsize=32)
def open_engine(url: str) -> Engine:
    """The engine of `url`; the same one for every caller in this process. Makes the folder of a SQLite file."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        if parsed.drivername == "postgresql":  # the name alone means a driver that is not among our packages
            parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(parsed, pool_pre_ping=True)
    if not parsed.database or parsed.database == ":memory:":
        raise ValueError(
            f"database URL {url!r} is in memory, so no other process could read it; name a file: sqlite:///path.db"
        )
    file_of(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own implicit transactions start too late to be IMMEDIATE; ours are explicit (see _begin_sqlite).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a read-then-write transaction can then never fail half-way as a stale reader.
    writes = connection.get_execution_options().get("mixer_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that holds the write lock from its start; commits on success, else rolls back."""
    with engine.connect().execution_options(mixer_write=True) as connection, connection.begin():
        yield connection


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one consistent state of the database."""
    # PostgreSQL's own default lets each statement see what was committed since the one before.
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def lock_table(connection: Connection, name: str) -> None:
    """Let no other writer of the table in until the transaction ends; readers go on. SQLite's writers queue as it is."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"LOCK TABLE {name} IN EXCLUSIVE MODE"))


def create_tables(engine: Engine, *names: str) -> None:
    """Create the named tables where missing; safe when several processes start at once."""
    with write_transaction(engine) as connection:
        metadata.create_all(connection, tables=[metadata.tables[name] for name in names])
