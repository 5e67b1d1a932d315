"""Who may do what with releases: people with a role and a token. Of a token only its hash is stored; it is shown once."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, Integer, RowMapping, String, Table, Text, delete, func, insert, select, update

from infra.database import create_tables, metadata, open_engine, read_transaction, write_transaction
from services.releases.roles import NEEDED, Role

REFUSALS_KEPT = 1_000
TOKEN_BYTES = 32  # of randomness: no dictionary finds it, so a plain hash is enough

PEOPLE = Table(
    "people",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("added_at", String(40), nullable=False),
    Column("expires_at", String(40)),
    Column("revoked_at", String(40)),
)

REFUSALS = Table(
    "refusals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", String(40), nullable=False),
    Column("who", String(200), nullable=False),  # the name behind the token; empty where no token or an unknown one was given
    Column("what", String(200), nullable=False),
    Column("why", Text, nullable=False),
)


class PersonError(ValueError):
    """A person who can't be added or revoked; the message says why."""


@dataclass(frozen=True)
class Person:
    """Somebody with a token. Times are ISO 8601, UTC."""

    name: str
    role: Role
    added_at: str
    expires_at: str | None
    revoked_at: str | None

    def why_not(self, action: str, now: datetime) -> str | None:
        """Why the person may not carry out `action` now; None where they may."""
        if self.revoked_at is not None:
            return f"the token of {self.name} was revoked at {self.revoked_at[:16]}"
        if self.expires_at is not None and datetime.fromisoformat(self.expires_at) <= now:
            return f"the token of {self.name} expired at {self.expires_at[:16]}"
        if not self.role.may(action):
            return f"{self.name} is {_article(self.role)}; {action} needs {_article(NEEDED[action])}"
        return None


class People:
    """The people of the platform database at `url`."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        create_tables(self._engine, PEOPLE.name, REFUSALS.name)

    def add(self, name: str, role: Role, *, days: float | None = None) -> str:
        """A new person, or a new token and role for one who was revoked; returns the token, which nobody can read again.

        days: how long the token holds; None without an end.
        """
        name = name.strip()
        if not name:
            raise PersonError("the name is empty; give the name that the ledger should hold")
        if not name.isprintable():
            raise PersonError(f"the name {name!r} holds characters that nobody sees; leave them out")
        if days is not None and days <= 0:
            raise PersonError(f"a token that holds for {days:g} days has expired already; give a number above 0")
        token, now = secrets.token_urlsafe(TOKEN_BYTES), datetime.now(UTC)
        values = {
            "role": role.value,
            "token_hash": _hash(token),
            "added_at": now.isoformat(timespec="seconds"),
            "expires_at": None if days is None else (now + timedelta(days=days)).isoformat(timespec="seconds"),
            "revoked_at": None,
        }
        with write_transaction(self._engine) as connection:
            alike = [one for one in connection.execute(select(PEOPLE.c.name)).scalars() if one.casefold() == name.casefold()]
            if alike and name not in alike:
                raise PersonError(f"there is {alike[0]!r} already, who reads like {name!r}; give a name that nobody confuses")
            known = connection.execute(select(PEOPLE).where(PEOPLE.c.name == name)).mappings().first()
            if known is None:
                connection.execute(insert(PEOPLE).values(name=name, **values))
            elif known["revoked_at"] is None:
                raise PersonError(f"{name} has a token already; revoke it first (`mixer users revoke {name!r}`)")
            else:
                connection.execute(update(PEOPLE).where(PEOPLE.c.name == name).values(**values))
        return token

    def revoke(self, name: str) -> None:
        """The token holds no longer, from now on. Raises PersonError for a name that nobody has."""
        with write_transaction(self._engine) as connection:
            mine = PEOPLE.c.name == name
            if connection.execute(select(PEOPLE.c.name).where(mine)).first() is None:
                raise PersonError(f"there is no {name!r}; `mixer users list` names everybody")
            now = datetime.now(UTC).isoformat(timespec="seconds")
            connection.execute(update(PEOPLE).where(mine, PEOPLE.c.revoked_at.is_(None)).values(revoked_at=now))

    def all(self) -> list[Person]:
        """Everybody, by name; revoked ones too, since the ledger names them."""
        with read_transaction(self._engine) as connection:
            return [_person(row) for row in connection.execute(select(PEOPLE).order_by(PEOPLE.c.name)).mappings()]

    def of_token(self, token: str) -> Person | None:
        """Whose token it is. The hash is looked up, so no time tells how much of a guess was right."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(select(PEOPLE).where(PEOPLE.c.token_hash == _hash(token))).mappings().first()
        return None if row is None else _person(row)

    # ---- refusals -------------------------------------------------------------------------------------------------
    def refused(self, who: str, what: str, why: str) -> None:
        """Note that `who` was not let do `what`; the newest REFUSALS_KEPT stay."""
        row = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "who": who[:200], "what": what[:200], "why": why}
        with write_transaction(self._engine) as connection:
            connection.execute(insert(REFUSALS).values(**row))
            newest = connection.execute(select(func.max(REFUSALS.c.id))).scalar_one()
            connection.execute(delete(REFUSALS).where(REFUSALS.c.id <= newest - REFUSALS_KEPT))

    def refusals(self, most: int = 100) -> list[dict[str, str]]:
        """The newest refusals, newest first."""
        statement = select(REFUSALS.c.at, REFUSALS.c.who, REFUSALS.c.what, REFUSALS.c.why)
        with read_transaction(self._engine) as connection:
            return [dict(row) for row in connection.execute(statement.order_by(REFUSALS.c.id.desc()).limit(most)).mappings()]


def _person(row: RowMapping) -> Person:
    stored = {name: value for name, value in row.items() if name != "token_hash"}
    return Person(**{**stored, "role": Role(row["role"])})


def _hash(token: str) -> str:
    return hashlib.sha256(token.strip().encode()).hexdigest()


def _article(role: Role) -> str:
    return f"{'an' if role[0] in 'aeiou' else 'a'} {role}"
