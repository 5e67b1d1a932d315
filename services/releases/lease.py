"""A lease in the platform's database: of several processes that could do one job, one does it, until it falls silent."""

from __future__ import annotations

from sqlalchemy import Column, Float, String, Table, insert, select, update

from infra.database import create_tables, metadata, open_engine, write_transaction

LEASES = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("expires_at", Float, nullable=False),  # Unix seconds
)


class Lease:
    """The lease called `name`, as `holder` sees it."""

    def __init__(self, url: str, name: str, holder: str, lasts_s: float) -> None:
        self._engine = open_engine(url)
        self._name, self._holder, self._lasts_s = name, holder, lasts_s
        create_tables(self._engine, LEASES.name)

    def hold(self, now: float) -> bool:
        """Take the lease, or keep it, at `now` (Unix seconds); False while another holder's is still running."""
        values = {"holder": self._holder, "expires_at": now + self._lasts_s}
        with write_transaction(self._engine) as connection:
            mine = LEASES.c.name == self._name
            row = connection.execute(select(LEASES).where(mine).with_for_update()).first()
            if row is None:
                connection.execute(insert(LEASES).values(name=self._name, **values))
                return True
            if row.holder != self._holder and row.expires_at > now:
                return False
            connection.execute(update(LEASES).where(mine).values(**values))
            return True

    def give_up(self) -> None:
        """Let the next holder begin at once."""
        with write_transaction(self._engine) as connection:
            own = (LEASES.c.name == self._name) & (LEASES.c.holder == self._holder)
            connection.execute(update(LEASES).where(own).values(expires_at=0.0))
