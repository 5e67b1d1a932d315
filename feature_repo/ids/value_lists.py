"""Many values as one statement parameter: a JSON array on SQLite, an array on PostgreSQL.

One parameter a value would meet SQLite's limit on parameters, and cost more than the look-up.
"""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import BigInteger, Column, Connection, FromClause, Text, bindparam, func
from sqlalchemy.dialects.postgresql import ARRAY

_TYPES = {"text": Text(), "number": BigInteger()}


def value_list(connection: Connection, values: list, kind: str = "text") -> tuple[FromClause, dict[str, Any]]:
    """A relation with columns `value` and `place` (from `first_place`), and the parameters to execute it with.

    kind: "text" or "number", the type of the values.
    """
    if is_sqlite(connection):
        rows = func.json_each(bindparam("given")).table_valued(Column("value", _TYPES[kind]), Column("key", BigInteger()))
        return rows, {"given": orjson.dumps(values).decode()}
    given = bindparam("given", type_=ARRAY(_TYPES[kind]))
    rows = func.unnest(given).table_valued(Column("value", _TYPES[kind]), with_ordinality="key", joins_implicitly=True)
    return rows.render_derived(), {"given": values}


def first_place(connection: Connection) -> int:
    """The `key` of the first value of a list: arrays count from 0 in JSON, from 1 in PostgreSQL."""
    return 0 if is_sqlite(connection) else 1


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"
