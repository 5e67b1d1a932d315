"""A person's answer to "may this release go live": asked, kept and decided here, never in a sleeping process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, insert, select, update

from infra.database import create_tables, lock_table, open_engine, read_transaction, write_transaction
from services.releases.chain import canonical
from services.releases.tables import APPROVALS, NAMES, RELEASES

Status = Literal["pending", "approved", "rejected"]


class ApprovalError(ValueError):
    """A question or an answer without a name or a reason, or about a release that nobody knows."""


class NothingPending(ApprovalError):
    """An answer to a question that nobody asked, or that was answered before."""


@dataclass(frozen=True)
class Approval:
    """A question and, once `status` is not pending, its answer."""

    id: int
    release_id: str
    status: Status
    requested_at: str
    requested_by: str
    request_reason: str
    evidence: Mapping[str, Any]
    decided_at: str | None
    actor: str | None
    reason: str | None


def named(actor: str, reason: str) -> tuple[str, str]:
    """Both texts stripped; raises ApprovalError where one says nothing."""
    actor, reason = actor.strip(), reason.strip()
    if not actor:
        raise ApprovalError("actor is empty; give the name of the person who decides")
    if not reason:
        raise ApprovalError("reason is empty; say in a sentence why")
    return actor, reason


class Approvals:
    """Approval requests in the platform database at `url`."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        create_tables(self._engine, *NAMES)

    def request(
        self, release_id: str, reason: str, evidence: Mapping[str, Any] | None = None, requested_by: str = "release flow"
    ) -> Approval:
        """Ask for a decision; where one is already pending for the release, that one is returned (a flow may restart)."""
        requested_by, reason = named(requested_by, reason)
        with write_transaction(self._engine) as connection:
            lock_table(connection, APPROVALS.name)
            if connection.execute(select(RELEASES.c.release_id).where(RELEASES.c.release_id == release_id)).first() is None:
                raise ApprovalError(f"release {release_id!r} is not in the ledger; create it before asking for its approval")
            waiting = _newest(connection, release_id)
            if waiting is not None and waiting.status == "pending":
                return waiting
            connection.execute(
                insert(APPROVALS).values(
                    release_id=release_id,
                    status="pending",
                    requested_at=_now(),
                    requested_by=requested_by,
                    request_reason=reason,
                    evidence=canonical(evidence or {}),
                )
            )
            created = _newest(connection, release_id)
            if created is None:
                raise RuntimeError(f"the approval request of {release_id} was not stored")
            return created

    def approve(self, release_id: str, actor: str, reason: str) -> Approval:
        """Answer yes. Raises NothingPending, or ApprovalError for an answer without a name or a reason."""
        return self._decide(release_id, "approved", actor, reason)

    def reject(self, release_id: str, actor: str, reason: str) -> Approval:
        """Answer no. Raises as `approve` does."""
        return self._decide(release_id, "rejected", actor, reason)

    def pending(self) -> list[Approval]:
        """Questions without an answer, oldest first."""
        statement = select(APPROVALS).where(APPROVALS.c.status == "pending").order_by(APPROVALS.c.id)
        with read_transaction(self._engine) as connection:
            return [_approval(row) for row in connection.execute(statement).mappings()]

    def pending_for(self, release_id: str) -> bool:
        """Whether the release waits for an answer."""
        return any(question.release_id == release_id for question in self.pending())

    def decision(self, release_id: str) -> Approval | None:
        """The newest answer for the release; None while nobody has answered its newest question."""
        with read_transaction(self._engine) as connection:
            newest = _newest(connection, release_id)
        return None if newest is None or newest.status == "pending" else newest

    def _decide(self, release_id: str, status: Status, actor: str, reason: str) -> Approval:
        actor, reason = named(actor, reason)
        with write_transaction(self._engine) as connection:
            lock_table(connection, APPROVALS.name)
            newest = _newest(connection, release_id)
            if newest is None:
                raise NothingPending(
                    f"release {release_id!r} has no approval request; the release flow asks when its canary is done"
                )
            if newest.status != "pending":
                raise NothingPending(
                    f"release {release_id!r} was already {newest.status} by {newest.actor} at {newest.decided_at}"
                )
            connection.execute(
                update(APPROVALS)
                .where(APPROVALS.c.id == newest.id)
                .values(status=status, decided_at=_now(), actor=actor, reason=reason)
            )
            decided = _newest(connection, release_id)
            if decided is None:
                raise RuntimeError(f"the answer for {release_id} was not stored")
            return decided


def approval_of(connection: Connection, release_id: str) -> Approval | None:
    """The release's approval when it was given, inside the caller's transaction."""
    newest = _newest(connection, release_id)
    return newest if newest is not None and newest.status == "approved" else None


def withdraw(connection: Connection, release_id: str, actor: str, reason: str) -> None:
    """Answer a question that is still pending with no, inside the caller's transaction."""
    connection.execute(
        update(APPROVALS)
        .where(APPROVALS.c.release_id == release_id, APPROVALS.c.status == "pending")
        .values(status="rejected", decided_at=_now(), actor=actor, reason=reason)
    )


def _newest(connection: Connection, release_id: str) -> Approval | None:
    statement = select(APPROVALS).where(APPROVALS.c.release_id == release_id).order_by(APPROVALS.c.id.desc()).limit(1)
    row = connection.execute(statement).mappings().first()
    return None if row is None else _approval(row)


def _approval(row: RowMapping) -> Approval:
    return Approval(**{**row, "evidence": json.loads(row["evidence"])})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
