"""The release ledger: append-only, hash-chained, and the only place that moves traffic.

A transition writes its row and the route pointer in one transaction, so no reader ever sees one without the other.
Where one transition implies another (a new live release retires the old one; rolling back the live release brings its
predecessor back), the implied rows are part of the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from infra.database import create_tables, lock_table, open_engine, read_transaction, write_transaction
from services.releases.approvals import approval_of, named, withdraw
from services.releases.chain import GENESIS, LedgerEntry, canonical, chain_problems, replayed_route, seal
from services.releases.manifest import ReleaseManifest
from services.releases.published_heads import PublishedHeads, missing_heads
from services.releases.route import Route, advance_route
from services.releases.states import ReleaseState, TransitionError, check_transition
from services.releases.tables import ARMS, LEDGER, NAMES, RELEASES, ROUTE

_ROUTE_ROW = 1


class UnknownRelease(ValueError):
    """No release of that name was ever created."""


@dataclass(frozen=True)
class ReleaseSummary:
    """A release, and the newest entry about it."""

    manifest: ReleaseManifest
    entry: LedgerEntry
    arm_url: str | None

    @property
    def release_id(self) -> str:
        return self.manifest.release_id

    @property
    def state(self) -> ReleaseState:
        return self.entry.state


@dataclass(frozen=True)
class DoorView:
    """What the door follows: the route, the arms' URLs by release, and who stands by.

    live_since: Unix seconds. step: the ledger's number of the canary's newest step; None without a canary.
    """

    route: Route
    arms: Mapping[str, str]
    standby: str | None
    live_since: float | None
    step: int | None = None


class Ledger:
    """The ledger in the platform database at `url`. Safe to use from several threads and processes at once."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        create_tables(self._engine, *NAMES)

    # ---- writing --------------------------------------------------------------------------------------------------
    def create(self, manifest: ReleaseManifest, actor: str, reason: str = "built and registered") -> LedgerEntry:
        """Enter a new release as `built`. The same manifest again returns its first entry; another one is refused."""
        actor, reason = named(actor, reason)
        with self._writing() as connection:
            known = connection.execute(select(RELEASES).where(RELEASES.c.release_id == manifest.release_id)).mappings().first()
            if known is not None:
                if known["content_hash"] != manifest.content_hash:
                    raise TransitionError(
                        f"release {manifest.release_id} exists with other content "
                        f"({known['content_hash'][:12]}, not {manifest.content_hash[:12]}); use a new release id"
                    )
                return _entries(connection, manifest.release_id)[0]
            content = manifest.canonical_json()
            connection.execute(
                insert(RELEASES).values(release_id=manifest.release_id, manifest=content, content_hash=manifest.content_hash)
            )
            evidence = {"manifest": manifest.content_hash}
            return self._append(connection, manifest.release_id, ReleaseState.BUILT, None, actor, reason, evidence)

    def transition(
        self,
        release_id: str,
        state: ReleaseState | str,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any] | None = None,
        percent: float | None = None,
        after: int | None = None,
    ) -> LedgerEntry:
        """Move a release to `state`, with all that follows from it, and the route pointer, in one transaction.

        after: the seq of the release's entry that the move rests on; refused where a newer one was written meanwhile.
        Raises TransitionError where the law forbids it, UnknownRelease for an unknown name, ApprovalError for an
        empty actor or reason. Rolling back what is already rolled back returns the entry that did it.
        """
        actor, reason = named(actor, reason)
        target, evidence = ReleaseState(state), dict(evidence or {})
        percent = None if percent is None else float(percent)  # 5 and 5.0 must seal alike
        with self._writing() as connection:
            newest = _newest(connection, release_id)
            if newest.state is target is ReleaseState.ROLLED_BACK:
                return newest
            if after is not None and newest.seq != after:
                raise TransitionError(
                    f"release {release_id} went on to {newest.state} meanwhile: entry {newest.seq}, not {after}"
                )
            route = _route(connection)
            check_transition(release_id, newest.state, target, live=route.live, percent=percent)
            if target in (ReleaseState.CANARY, ReleaseState.LIVE, ReleaseState.SHADOW):
                _check_arm(connection, release_id, target)
            if target is ReleaseState.CANARY and route.canary not in (None, release_id):
                raise TransitionError(f"release {release_id}: {route.canary} is the canary; finish it or roll it back first")
            if target is ReleaseState.LIVE:
                evidence = _with_approval(connection, newest, evidence)
                if route.live is not None:
                    self._append(connection, route.live, ReleaseState.RETIRED, None, actor, f"replaced by {release_id}", {})
            heir = _heir(connection, release_id) if target is ReleaseState.ROLLED_BACK and route.live == release_id else None
            entry = self._append(connection, release_id, target, percent, actor, reason, evidence)
            if target is ReleaseState.ROLLED_BACK:
                withdraw(connection, release_id, actor, reason)
            if heir is not None:
                why = f"back to the last good release: {release_id} was rolled back"
                self._append(connection, heir, ReleaseState.LIVE, None, actor, why, {"after_rollback_of": release_id})
            return entry

    def register_arm(self, release_id: str, url: str) -> None:
        """Say where the release's process answers, as `http://host:port`."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"arm URL {url!r} of {release_id} must start with http:// or https://")
        with write_transaction(self._engine) as connection:
            _newest(connection, release_id)
            connection.execute(delete(ARMS).where(ARMS.c.release_id == release_id))
            connection.execute(insert(ARMS).values(release_id=release_id, url=url.rstrip("/"), registered_at=_now()))

    def remove_arm(self, release_id: str) -> None:
        """Forget the release's process; call it when the process is stopped. Nothing happens where none is known."""
        with write_transaction(self._engine) as connection:
            connection.execute(delete(ARMS).where(ARMS.c.release_id == release_id))

    # ---- reading --------------------------------------------------------------------------------------------------
    def entries(self) -> list[LedgerEntry]:
        """Every entry, oldest first."""
        with read_transaction(self._engine) as connection:
            return _entries(connection)

    def entries_of(self, release_id: str) -> list[LedgerEntry]:
        """The release's entries, oldest first. Raises UnknownRelease where there are none."""
        with read_transaction(self._engine) as connection:
            found = _entries(connection, release_id)
        if not found:
            raise UnknownRelease(f"release {release_id!r} is not in the ledger; create it first")
        return found

    def state(self, release_id: str) -> ReleaseState:
        with read_transaction(self._engine) as connection:
            return _newest(connection, release_id).state

    def manifest(self, release_id: str) -> ReleaseManifest:
        with read_transaction(self._engine) as connection:
            return _manifest(connection, release_id)

    def releases(self) -> list[ReleaseSummary]:
        """Every release with its newest entry, in order of creation."""
        with read_transaction(self._engine) as connection:
            entries, arms = _entries(connection), _arms(connection)
            newest = {entry.release_id: entry for entry in entries}
            order = list(dict.fromkeys(entry.release_id for entry in entries))
            return [ReleaseSummary(_manifest(connection, name), newest[name], arms.get(name)) for name in order]

    def route(self) -> Route:
        """Where traffic goes now."""
        with read_transaction(self._engine) as connection:
            return _route(connection)

    def read_for_the_door(self) -> DoorView:
        """Route, arms, standby and the live release's age, from one consistent read."""
        with read_transaction(self._engine) as connection:
            route, arms = _route(connection), _arms(connection)
            since, step = _live_since(connection, route.live), _newest_step(connection, route.canary)
            return DoorView(route, arms, _standby(connection, arms), since, step)

    def head(self) -> tuple[int, str] | None:
        """(seq, hash) of the newest entry, without reading any; None where there is none."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(select(ROUTE.c.seq, ROUTE.c.hash)).first()
            return None if row is None else (row.seq, row.hash)

    def standby(self) -> str | None:
        """The release that takes over when the live one is rolled back: the last that was live and has a process."""
        with read_transaction(self._engine) as connection:
            return _standby(connection, _arms(connection))

    def arms(self) -> dict[str, str]:
        """Release id -> URL of its process."""
        with read_transaction(self._engine) as connection:
            return _arms(connection)

    def verify(self, published: PublishedHeads | None = None) -> list[str]:
        """Everything that is wrong with the ledger, in words; empty when it is whole.

        Checks every hash and link, the law of transitions, the manifests, and that route and newest entry fit the rows
        (a cut-off tail would not). Whoever can rewrite all tables at once can forge a whole new history: that is seen by
        what was published.
        """
        # Before the entries: what is published meanwhile is none of our business.
        heads, unreadable = _heads(published)
        with read_transaction(self._engine) as connection:
            entries, stored = _entries(connection), connection.execute(select(ROUTE)).mappings().first()
            manifests = connection.execute(select(RELEASES)).mappings().all()
        problems = chain_problems(entries)
        problems += unreadable + missing_heads(heads, entries)
        route, broken_laws = replayed_route(entries)
        problems += broken_laws
        sealed = {entry.release_id: entry.evidence.get("manifest") for entry in reversed(entries)}
        for row in manifests:
            manifest = ReleaseManifest.model_validate_json(row["manifest"])
            if manifest.content_hash != sealed.get(row["release_id"]):
                problems.append(f"the manifest of {row['release_id']} was changed after it was built")
        if stored is None:
            return problems + (["the route pointer is missing"] if entries else [])
        if {name: stored[name] for name in asdict(route)} != asdict(route):
            problems.append("the route pointer does not follow from the entries: it was moved past the ledger")
        if not entries or (stored["seq"], stored["hash"]) != (entries[-1].seq, entries[-1].hash):
            problems.append("the newest entry is not the one that the route pointer names: entries were cut off or added")
        return problems

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that no other writer is in: what it reads of states and route holds until it commits.

        SQLite's writers queue where they begin. PostgreSQL's would read first and queue later, on what is outdated by then.
        """
        with write_transaction(self._engine) as connection:
            lock_table(connection, ROUTE.name)
            yield connection

    # ---- one row --------------------------------------------------------------------------------------------------
    def _append(
        self,
        connection: Connection,
        release_id: str,
        state: ReleaseState,
        percent: float | None,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any],
    ) -> LedgerEntry:
        head = connection.execute(select(ROUTE.c.seq, ROUTE.c.hash)).first()
        seq, previous_hash = (head.seq + 1, head.hash) if head is not None else (1, GENESIS)
        sealed, at = canonical(evidence), _now()
        row = {
            "seq": seq,
            "at": at,
            "release_id": release_id,
            "state": state.value,
            "percent": percent,
            "actor": actor,
            "reason": reason,
            "evidence": sealed,
            "previous_hash": previous_hash,
            "hash": seal(seq, at, release_id, state.value, percent, actor, reason, sealed, previous_hash),
        }
        connection.execute(insert(LEDGER).values(**row))
        route = advance_route(_route(connection), release_id, state, percent)
        pointer = {**asdict(route), "seq": seq, "hash": row["hash"]}
        if head is None:
            connection.execute(insert(ROUTE).values(id=_ROUTE_ROW, **pointer))
        else:
            connection.execute(update(ROUTE).where(ROUTE.c.id == _ROUTE_ROW).values(**pointer))
        return _entry(row)


def _check_arm(connection: Connection, release_id: str, target: ReleaseState) -> None:
    if release_id not in _arms(connection):
        raise TransitionError(
            f"release {release_id} has no running process, so it cannot be {target}; `mixer up` starts the processes of "
            "releases that take or stand by for traffic"
        )


def _with_approval(connection: Connection, newest: LedgerEntry, evidence: dict[str, Any]) -> dict[str, Any]:
    """`evidence` with the approval that lets the release go live; the first release of all needs none."""
    if newest.state is not ReleaseState.AWAITING_APPROVAL:
        return evidence
    approval = approval_of(connection, newest.release_id)
    if approval is None:
        raise TransitionError(f"release {newest.release_id} is not approved; ask with Approvals.request and wait for a yes")
    answer = {"id": approval.id, "actor": approval.actor, "reason": approval.reason, "decided_at": approval.decided_at}
    return {**evidence, "approval": answer}


def _heir(connection: Connection, release_id: str) -> str:
    """The release that was live most recently before `release_id` and still has a process."""
    standby = _standby(connection, _arms(connection))
    if standby is None:
        raise TransitionError(
            f"release {release_id} is live and no earlier release has a running process to take over; "
            "release another model (`mixer run release champion`), which then takes its place"
        )
    return standby


def _heads(published: PublishedHeads | None) -> tuple[list[tuple[int, str]], list[str]]:
    """What was published, and why it can't be read."""
    try:
        return (published.all() if published else []), []
    except ValueError as error:
        return [], [str(error)]


def _standby(connection: Connection, arms: Mapping[str, str]) -> str | None:
    newest = select(func.max(LEDGER.c.seq)).where(LEDGER.c.release_id.in_(arms)).group_by(LEDGER.c.release_id)
    retired = (LEDGER.c.seq.in_(newest)) & (LEDGER.c.state == ReleaseState.RETIRED.value)
    return connection.execute(select(LEDGER.c.release_id).where(retired).order_by(LEDGER.c.seq.desc()).limit(1)).scalar()


def _live_since(connection: Connection, live: str | None) -> float | None:
    went_live = (LEDGER.c.release_id == live) & (LEDGER.c.state == ReleaseState.LIVE.value)
    at = connection.execute(select(LEDGER.c.at).where(went_live).order_by(LEDGER.c.seq.desc()).limit(1)).scalar()
    return None if at is None else datetime.fromisoformat(at).timestamp()


def _newest_step(connection: Connection, canary: str | None) -> int | None:
    steps = (LEDGER.c.release_id == canary) & (LEDGER.c.state == ReleaseState.CANARY.value)
    return None if canary is None else connection.execute(select(func.max(LEDGER.c.seq)).where(steps)).scalar()


def _entries(connection: Connection, release_id: str | None = None) -> list[LedgerEntry]:
    statement = select(LEDGER).order_by(LEDGER.c.seq)
    if release_id is not None:
        statement = statement.where(LEDGER.c.release_id == release_id)
    return [_entry(row) for row in connection.execute(statement).mappings()]


def _newest(connection: Connection, release_id: str) -> LedgerEntry:
    statement = select(LEDGER).where(LEDGER.c.release_id == release_id).order_by(LEDGER.c.seq.desc()).limit(1)
    row = connection.execute(statement).mappings().first()
    if row is None:
        raise UnknownRelease(f"release {release_id!r} is not in the ledger; create it first")
    return _entry(row)


def _entry(row: RowMapping | Mapping[str, Any]) -> LedgerEntry:
    return LedgerEntry(**{**row, "state": ReleaseState(row["state"]), "evidence": json.loads(row["evidence"])})


def _manifest(connection: Connection, release_id: str) -> ReleaseManifest:
    text = connection.execute(select(RELEASES.c.manifest).where(RELEASES.c.release_id == release_id)).scalar()
    if text is None:
        raise UnknownRelease(f"release {release_id!r} is not in the ledger; create it first")
    return ReleaseManifest.model_validate_json(text)


def _route(connection: Connection) -> Route:
    row = connection.execute(select(ROUTE)).mappings().first()
    return Route() if row is None else Route(**{name: row[name] for name in Route.__dataclass_fields__})


def _arms(connection: Connection) -> dict[str, str]:
    return {row.release_id: row.url for row in connection.execute(select(ARMS.c.release_id, ARMS.c.url))}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
