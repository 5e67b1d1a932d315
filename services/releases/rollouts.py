"""The releases that were submitted: their plans, whether somebody paused them, and which of their ends was told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import Column, ForeignKey, Integer, RowMapping, String, Table, Text, insert, select, update

from infra.database import create_tables, metadata, open_engine, read_transaction, write_transaction
from services.releases.approvals import named
from services.releases.plan import RolloutPlan
from services.releases.tables import NAMES

ROLLOUTS = Table(
    "rollouts",
    metadata,
    Column("place", Integer, primary_key=True),  # in the queue: first submitted, first served
    Column("release_id", String(64), ForeignKey("releases.release_id"), nullable=False, unique=True),
    Column("plan", Text, nullable=False),
    Column("submitted_at", String(40), nullable=False),
    Column("submitted_by", String(200), nullable=False),
    Column("paused_at", String(40)),
    Column("paused_by", String(200)),
    Column("pause_reason", Text),
    Column("pauses", Text, nullable=False),  # that ended: JSON, see Pause
    Column("told_seq", Integer),  # the ledger's entry with which it ended last and of which the flows were told
)


class NotSubmitted(ValueError):
    """The release has no rollout: nobody submitted it."""


@dataclass(frozen=True)
class Pause:
    """A pause that ended: from when to when (Unix seconds), and who began and ended it, and why."""

    begin: float
    end: float
    by: str
    why: str
    resumed_by: str
    resumed_why: str


@dataclass(frozen=True)
class RolloutRow:
    """One submitted release."""

    release_id: str
    plan: RolloutPlan
    submitted_at: str  # ISO 8601, UTC
    submitted_by: str
    paused_at: str | None
    paused_by: str | None
    pause_reason: str | None
    pauses: tuple[Pause, ...]  # that ended
    told_seq: int | None

    @property
    def paused(self) -> bool:
        return self.paused_at is not None


def paused_s(row: RolloutRow, begin: float, end: float) -> float:
    """Seconds between `begin` and `end` (Unix seconds) in which the rollout was paused, the pause under way included."""
    spans = [(one.begin, one.end) for one in row.pauses]
    if row.paused_at is not None:
        spans.append((datetime.fromisoformat(row.paused_at).timestamp(), end))
    return sum(max(0.0, min(until, end) - max(since, begin)) for since, until in spans)


class Rollouts:
    """The rollouts in the platform database at `url`."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        create_tables(self._engine, *NAMES, ROLLOUTS.name)

    def submit(self, release_id: str, plan: RolloutPlan, submitted_by: str) -> RolloutRow:
        """Queue the release; one that is submitted already keeps its plan and its place."""
        with write_transaction(self._engine) as connection:
            known = connection.execute(select(ROLLOUTS.c.place).where(ROLLOUTS.c.release_id == release_id)).scalar()
            if known is None:
                row = {
                    "release_id": release_id,
                    "plan": plan.model_dump_json(),
                    "submitted_at": _now(),
                    "submitted_by": submitted_by,
                    "pauses": "[]",
                }
                connection.execute(insert(ROLLOUTS).values(**row))
        return self.of(release_id)

    def of(self, release_id: str) -> RolloutRow:
        """Raises NotSubmitted for a release that nobody submitted."""
        for row in self.all():
            if row.release_id == release_id:
                return row
        raise NotSubmitted(f"release {release_id!r} was not submitted; the release flow does it when the release is built")

    def submitted(self, release_id: str) -> bool:
        """Whether somebody submitted the release."""
        return any(row.release_id == release_id for row in self.all())

    def all(self) -> list[RolloutRow]:
        """Every rollout, in the order of submission."""
        with read_transaction(self._engine) as connection:
            rows = connection.execute(select(ROLLOUTS).order_by(ROLLOUTS.c.place)).mappings().all()
        return [_row(row) for row in rows]

    def pause(self, release_id: str, actor: str, reason: str) -> RolloutRow:
        """No step up and no deadline while it lasts; harm still rolls the release back. A second pause changes nothing."""
        actor, reason = named(actor, reason)
        if not self.of(release_id).paused:
            self._set(release_id, paused_at=_now(), paused_by=actor, pause_reason=reason)
        return self.of(release_id)

    def resume(self, release_id: str, actor: str, reason: str) -> RolloutRow:
        """Go on; the time that the pause took counts for no deadline. Without a pause nothing happens."""
        actor, reason = named(actor, reason)
        row = self.of(release_id)
        if row.paused_at is not None:
            begin, end = datetime.fromisoformat(row.paused_at).timestamp(), datetime.now(UTC).timestamp()
            pause = Pause(begin, end, row.paused_by or "", row.pause_reason or "", actor, reason)
            pauses = json.dumps([asdict(one) for one in (*row.pauses, pause)])
            self._set(release_id, paused_at=None, paused_by=None, pause_reason=None, pauses=pauses)
        return self.of(release_id)

    def mark_told(self, release_id: str, seq: int) -> None:
        """The flows know of its end, which is the ledger's entry `seq`. A live release may end once more: rolled back."""
        self._set(release_id, told_seq=seq)

    def _set(self, release_id: str, **values: object) -> None:
        with write_transaction(self._engine) as connection:
            connection.execute(update(ROLLOUTS).where(ROLLOUTS.c.release_id == release_id).values(**values))


def _row(row: RowMapping) -> RolloutRow:
    stored = {name: value for name, value in row.items() if name != "place"}
    pauses = tuple(Pause(**one) for one in json.loads(row["pauses"]))
    return RolloutRow(**{**stored, "plan": RolloutPlan.model_validate_json(row["plan"]), "pauses": pauses})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
