"""Tables of the release ledger. Times are ISO 8601 text in UTC: sortable, and hashed exactly as stored."""

from __future__ import annotations

from sqlalchemy import DDL, Column, Float, ForeignKey, Integer, String, Table, Text, event

from infra.database import metadata

RELEASES = Table(
    "releases",
    metadata,
    Column("release_id", String(64), primary_key=True),
    Column("manifest", Text, nullable=False),
    Column("content_hash", String(64), nullable=False),
)

LEDGER = Table(
    "ledger",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("release_id", String(64), ForeignKey("releases.release_id"), nullable=False, index=True),
    Column("state", String(24), nullable=False),
    Column("percent", Float),
    Column("actor", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)

# One row. `seq` and `hash` name the newest ledger row, so a ledger that lost its tail does not fit its route.
ROUTE = Table(
    "route",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("live", String(64)),
    Column("canary", String(64)),
    Column("canary_percent", Float, nullable=False),
    Column("salt", String(64), nullable=False),
    Column("shadow", String(64)),
    Column("seq", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)

ARMS = Table(
    "arms",
    metadata,
    Column("release_id", String(64), ForeignKey("releases.release_id"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("registered_at", String(40), nullable=False),
)

APPROVALS = Table(
    "approvals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("release_id", String(64), ForeignKey("releases.release_id"), nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("requested_at", String(40), nullable=False),
    Column("requested_by", String(200), nullable=False),
    Column("request_reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("decided_at", String(40)),
    Column("actor", String(200)),
    Column("reason", Text),
)

NAMES = ("releases", "ledger", "route", "arms", "approvals")

# The chain detects tampering; on SQLite the triggers also refuse it to anyone who goes through SQL.
for _verb in ("UPDATE", "DELETE"):
    event.listen(
        LEDGER,
        "after_create",
        DDL(
            f"CREATE TRIGGER ledger_refuses_{_verb.lower()} BEFORE {_verb} ON ledger "
            f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: {_verb.lower()} refused'); END"
        ).execute_if(dialect="sqlite"),
    )
