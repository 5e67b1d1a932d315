"""Where the canary's evidence is kept: visits, each once however often it is sent, and the looks of the judge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String, Table, Text, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from infra.database import create_tables, metadata, open_engine, read_transaction, write_transaction
from monitoring.canary.visits import ArmEvidence, VisitEvidence

VISITS = Table(
    "canary_visits",
    metadata,
    Column("release_id", String(64), primary_key=True),
    Column("request_id", String(128), primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("log_loss", Text, nullable=False),
    Column("reference_log_loss", Text, nullable=False),
    Column("ndcg", Float),
    Column("reference_ndcg", Float),
    Column("latency_ms", Float, nullable=False),
    Column("error", Boolean, nullable=False),
    Column("empty", Boolean, nullable=False),
    Column("distinct_author_share", Float),
)

LOOKS = Table(
    "canary_looks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("release_id", String(64), nullable=False, index=True),
    Column("at_us", BigInteger, nullable=False),
    Column("verdict", Text, nullable=False),
)

_CHUNK = 500  # rows a statement: below SQLite's limit of bound variables


class EvidenceStore:
    """Visits and the judge's looks at them, in the platform database at `url`."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        create_tables(self._engine, VISITS.name, LOOKS.name)

    def add(self, visits: Sequence[VisitEvidence]) -> int:
        """Keep `visits`; one whose (release_id, request_id) is known is left as it was. Returns how many were new."""
        rows = [
            {
                **asdict(visit),
                "log_loss": json.dumps(dict(visit.log_loss), allow_nan=False),
                "reference_log_loss": json.dumps(dict(visit.reference_log_loss), allow_nan=False),
            }
            for visit in visits
        ]
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        with write_transaction(self._engine) as connection:
            before = connection.execute(select(func.count()).select_from(VISITS)).scalar_one()
            for start in range(0, len(rows), _CHUNK):
                connection.execute(dialect.insert(VISITS).on_conflict_do_nothing(), rows[start : start + _CHUNK])
            return connection.execute(select(func.count()).select_from(VISITS)).scalar_one() - before

    def load(self, release_ids: Sequence[str], since_us: int | None = None) -> dict[str, ArmEvidence]:
        """Release id -> its evidence by user, from visits at or after `since_us`. A release without visits has no users."""
        statement = select(VISITS).where(VISITS.c.release_id.in_(release_ids))
        if since_us is not None:
            statement = statement.where(VISITS.c.at_us >= since_us)
        visits: dict[str, list[VisitEvidence]] = {release_id: [] for release_id in release_ids}
        with read_transaction(self._engine) as connection:
            for row in connection.execute(statement).mappings():
                visits[row["release_id"]].append(
                    VisitEvidence(
                        **{
                            **row,
                            "log_loss": json.loads(row["log_loss"]),
                            "reference_log_loss": json.loads(row["reference_log_loss"]),
                        }
                    )
                )
        return {release_id: ArmEvidence.of(arm) for release_id, arm in visits.items()}

    def newest_us(self, release_ids: Sequence[str]) -> int | None:
        """The newest moment among the visits of `release_ids`; None where there are none."""
        statement = select(func.max(VISITS.c.at_us)).where(VISITS.c.release_id.in_(release_ids))
        with read_transaction(self._engine) as connection:
            return connection.execute(statement).scalar_one()

    def judged_heads(self, release_id: str) -> tuple[str, ...]:
        """The heads that the newest visit of the release with judged posts was judged by; none before there was one."""
        statement = (
            select(VISITS.c.log_loss)
            .where(VISITS.c.release_id == release_id, VISITS.c.rows > 0)
            .order_by(VISITS.c.at_us.desc())
            .limit(1)
        )
        with read_transaction(self._engine) as connection:
            newest = connection.execute(statement).scalar()
        return () if newest is None else tuple(json.loads(newest))

    def count(self, release_id: str) -> int:
        """Visits kept for the release."""
        statement = select(func.count()).select_from(VISITS).where(VISITS.c.release_id == release_id)
        with read_transaction(self._engine) as connection:
            return connection.execute(statement).scalar_one()

    def add_look(self, release_id: str, at_us: int, verdict: dict[str, Any]) -> None:
        """Keep what the judge said of canary `release_id` at one look (`Verdict.to_dict()`)."""
        with write_transaction(self._engine) as connection:
            text = json.dumps(verdict, allow_nan=False)
            connection.execute(insert(LOOKS).values(release_id=release_id, at_us=at_us, verdict=text))

    def looks(self, release_id: str) -> list[dict[str, Any]]:
        """Every look at the canary, oldest first, each a verdict as a dict with `at_us`."""
        statement = select(LOOKS).where(LOOKS.c.release_id == release_id).order_by(LOOKS.c.id)
        with read_transaction(self._engine) as connection:
            return [{**json.loads(row.verdict), "at_us": row.at_us} for row in connection.execute(statement)]
