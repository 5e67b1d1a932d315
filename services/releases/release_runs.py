"""Which run of Prefect's flow `release` takes which release along: cancelling that run takes the release out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Column, ForeignKey, String, Table, delete, insert, select, update

from infra.database import create_tables, metadata, open_engine, read_transaction, write_transaction
from services.releases.tables import NAMES

RELEASE_RUNS = Table(
    "release_runs",
    metadata,
    Column("run_id", String(36), primary_key=True),
    Column("release_id", String(64), ForeignKey("releases.release_id"), nullable=False, index=True),
    Column("entered_at", String(40), nullable=False),
    Column("closed_at", String(40)),  # when the run was over, or another run took the release along instead
)


@dataclass(frozen=True)
class ReleaseRun:
    """A flow run, by Prefect's id, and its release."""

    run_id: str
    release_id: str


class ReleaseRuns:
    """The runs in the platform database at `url`. A release has one open run at most."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        create_tables(self._engine, *NAMES, RELEASE_RUNS.name)

    def enter(self, release_id: str, run_id: str, *, instead: bool) -> ReleaseRun:
        """Let the run take the release along, and return the run that does.

        instead: take the release over from another open run; without it, that run keeps the release.
        """
        open_one = (RELEASE_RUNS.c.release_id == release_id) & (RELEASE_RUNS.c.closed_at.is_(None))
        with write_transaction(self._engine) as connection:
            owner = connection.execute(select(RELEASE_RUNS.c.run_id).where(open_one)).scalar()
            if owner == run_id or (owner is not None and not instead):
                return ReleaseRun(owner, release_id)
            connection.execute(update(RELEASE_RUNS).where(open_one).values(closed_at=_now()))
            # A run that is tried again may build another release than it did before.
            connection.execute(delete(RELEASE_RUNS).where(RELEASE_RUNS.c.run_id == run_id))
            connection.execute(insert(RELEASE_RUNS).values(run_id=run_id, release_id=release_id, entered_at=_now()))
        return ReleaseRun(run_id, release_id)

    def release_of(self, run_id: str) -> str | None:
        """The release that the run has taken along, or None."""
        with read_transaction(self._engine) as connection:
            statement = select(RELEASE_RUNS.c.release_id).where(RELEASE_RUNS.c.run_id == run_id)
            return connection.execute(statement).scalar()

    def newest_of(self, release_id: str) -> str | None:
        """The id of the run that took the release along last, or None."""
        mine = RELEASE_RUNS.c.release_id == release_id
        statement = select(RELEASE_RUNS.c.run_id).where(mine).order_by(RELEASE_RUNS.c.entered_at.desc()).limit(1)
        with read_transaction(self._engine) as connection:
            return connection.execute(statement).scalar()

    def open(self) -> list[ReleaseRun]:
        """The runs that are not known to be over, in the order in which they were entered."""
        statement = select(RELEASE_RUNS).where(RELEASE_RUNS.c.closed_at.is_(None)).order_by(RELEASE_RUNS.c.entered_at)
        with read_transaction(self._engine) as connection:
            return [ReleaseRun(row.run_id, row.release_id) for row in connection.execute(statement)]

    def close(self, run_id: str) -> None:
        """The run is over; it is not looked at any more."""
        with write_transaction(self._engine) as connection:
            connection.execute(update(RELEASE_RUNS).where(RELEASE_RUNS.c.run_id == run_id).values(closed_at=_now()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
