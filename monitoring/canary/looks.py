"""The judge's looks at canaries, kept: what it said, and when."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text, insert, select

from infra.database import create_tables, metadata, open_engine, read_transaction, write_transaction

LOOKS = Table(
    "canary_looks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("release_id", String(64), nullable=False, index=True),
    Column("at_us", BigInteger, nullable=False),
    Column("verdict", Text, nullable=False),
)


class Looks:
    """The looks in the platform database at `url`."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        create_tables(self._engine, LOOKS.name)

    def add(self, release_id: str, at_us: int, verdict: dict[str, Any]) -> None:
        """Keep what the judge said of canary `release_id` at one look (`Verdict.to_dict()`)."""
        with write_transaction(self._engine) as connection:
            text = json.dumps(verdict, allow_nan=False)
            connection.execute(insert(LOOKS).values(release_id=release_id, at_us=at_us, verdict=text))

    def all(self, release_id: str) -> list[dict[str, Any]]:
        """Every look at the canary, oldest first, each a verdict as a dict with `at_us`."""
        statement = select(LOOKS).where(LOOKS.c.release_id == release_id).order_by(LOOKS.c.id)
        with read_transaction(self._engine) as connection:
            return [_look(row) for row in connection.execute(statement)]

    def newest(self, release_id: str) -> dict[str, Any] | None:
        """The last look at the canary; None before the first."""
        statement = select(LOOKS).where(LOOKS.c.release_id == release_id).order_by(LOOKS.c.id.desc()).limit(1)
        with read_transaction(self._engine) as connection:
            row = connection.execute(statement).first()
        return None if row is None else _look(row)


def _look(row: Any) -> dict[str, Any]:
    return {**json.loads(row.verdict), "at_us": row.at_us}
