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
        if (row := self.find(release_id)) is not None:
            return row
        raise NotSubmitted(f"release {release_id!r} was not submitted; the release flow does it when the release is built")

    def find(self, release_id: str) -> RolloutRow | None:
        """None for a release that nobody submitted."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(select(ROLLOUTS).where(ROLLOUTS.c.release_id == release_id)).mappings().first()
        return None if row is None else _row(row)

    def submitted(self, release_id: str) -> bool:
        """Whether somebody submitted the release."""
        return self.find(release_id) is not None

    def all(self) -> list[RolloutRow]:
        """Every rollout, in the order of submission."""
        with read_transaction(self._engine) as connection:
            rows = connection.execute(select(ROLLOUTS).order_by(ROLLOUTS.c.place)).mappings().all()
        return [_row(row) for row in rows]

    def pause(self, release_id: str, actor: str, reason: str) -> RolloutRow:
        """No step up and no deadline while it lasts; harm still rolls the release back. A second pause changes nothing."""
        actor, reason = named(actor, reason)
        with write_transaction(self._engine) as connection:
            goes_on = (ROLLOUTS.c.release_id == release_id, ROLLOUTS.c.paused_at.is_(None))
            values = {"paused_at": _now(), "paused_by": actor, "pause_reason": reason}
            connection.execute(update(ROLLOUTS).where(*goes_on).values(**values))
        return self.of(release_id)

    def resume(self, release_id: str, actor: str, reason: str) -> RolloutRow:
        """Go on; the time that the pause took counts for no deadline. Without a pause nothing happens."""
        actor, reason = named(actor, reason)
        paused = (ROLLOUTS.c.release_id == release_id, ROLLOUTS.c.paused_at.is_not(None))
        with write_transaction(self._engine) as connection:
            stored = connection.execute(select(ROLLOUTS).where(*paused).with_for_update()).mappings().first()
            if stored is not None:
                values = {"paused_at": None, "paused_by": None, "pause_reason": None}
                pauses = _pauses_after(_row(stored), actor, reason)
                connection.execute(update(ROLLOUTS).where(*paused).values(**values, pauses=pauses))
        return self.of(release_id)

    def mark_told(self, release_id: str, seq: int) -> None:
        """The flows know of its end, which is the ledger's entry `seq`. A live release may end once more: rolled back."""
        with write_transaction(self._engine) as connection:
            connection.execute(update(ROLLOUTS).where(ROLLOUTS.c.release_id == release_id).values(told_seq=seq))


def _pauses_after(row: RolloutRow, actor: str, reason: str) -> str:
    """The column `pauses` of a paused row once its pause is over, which ends now."""
    begin, end = datetime.fromisoformat(str(row.paused_at)).timestamp(), datetime.now(UTC).timestamp()
    pause = Pause(begin, end, row.paused_by or "", row.pause_reason or "", actor, reason)
    return json.dumps([asdict(one) for one in (*row.pauses, pause)])


def _row(row: RowMapping) -> RolloutRow:
    stored = {name: value for name, value in row.items() if name != "place"}
    pauses = tuple(Pause(**one) for one in json.loads(row["pauses"]))
    return RolloutRow(**{**stored, "plan": RolloutPlan.model_validate_json(row["plan"]), "pauses": pauses})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
