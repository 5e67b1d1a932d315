"""What the outcomes say of a canary, as the columns that the judge reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection, Table, func, select

from infra.database import create_tables, open_engine, read_transaction
from monitoring.canary.rollout_evidence import PairedLosses, RequestTimes, RolloutEvidence, UserSums
from monitoring.outcomes.page import DAY_US
from monitoring.outcomes.store import BEGAN, CHANGED, TAKEN
from monitoring.outcomes.tables import DAYS, LOSSES, MARKS, NAMES, OFFSETS, PAGE_SUMS, REQUEST_SUMS, TIMES

_PAGE_COLUMNS = ("pages", "posts", "engagement", "disliked", "author_share", "age_hours")
_REQUEST_COLUMNS = ("requests", "failed", "pages", "empty", "not_numbers", "short")


class Outcomes:
    """The outcomes in the database at `url`, for reading."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        create_tables(self._engine, *NAMES)

    def changes(self, canary: str) -> int:
        """A number that grows whenever something is learned of the canary; 0 before there is anything."""
        with read_transaction(self._engine) as connection:
            return connection.execute(select(MARKS.c.value).where(MARKS.c.name == CHANGED + canary)).scalar() or 0

    def taken_at(self) -> float | None:
        """Unix seconds when outcomes were taken in last, be it that there were none; None before."""
        with read_transaction(self._engine) as connection:
            taken_us = connection.execute(select(MARKS.c.value).where(MARKS.c.name == TAKEN)).scalar()
        return None if taken_us is None else taken_us / 1e6

    def read_up_to(self, topic: str) -> dict[int, int]:
        """By partition of the topic, the offset after the last record that was taken in."""
        with read_transaction(self._engine) as connection:
            rows = connection.execute(select(OFFSETS.c.partition, OFFSETS.c.following).where(OFFSETS.c.topic == topic))
            return {row.partition: row.following for row in rows}

    def evidence(self, canary: str, steps: Sequence[tuple[int, float]]) -> RolloutEvidence:
        """All that is known of `canary` in `steps`: the ledger's number of each, and the canary's share of users, 0..1."""
        places = {seq: place for place, (seq, _) in enumerate(steps)}
        with read_transaction(self._engine) as connection:
            requests = _user_sums(connection, REQUEST_SUMS, canary, places, _REQUEST_COLUMNS, "user")
            times = _columns(connection, TIMES, canary, places, ("user", "bin", "count"))
            pages = _user_sums(connection, PAGE_SUMS, canary, places, (*_PAGE_COLUMNS, "user_id"), "user_id")
            before = _engagement_before(connection, canary)
            losses = connection.execute(select(LOSSES).where(LOSSES.c.canary == canary)).all()
        users = pages.sums.pop("user_id").astype(np.int64)
        pages.sums["before"] = _looked_up(before, users)
        return RolloutEvidence(
            shares=tuple(share for _, share in steps),
            requests=requests,
            times=RequestTimes(
                step=times["step"],
                treated=times["treated"],
                user=np.unique(times["user"].astype(str), return_inverse=True)[1].astype(np.int64),
                bin=times["bin"].astype(np.int64),
                count=times["count"].astype(np.int64),
            ),
            pages=pages,
            losses=_paired(losses),
        )


def _columns(
    connection: Connection, table: Table, canary: str, places: dict[int, int], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """`names`, step and treated of the canary's rows; users who were met within no known step are left out."""
    chosen = [table.c.step, table.c.assigned, *(table.c[name] for name in names)]
    known = (table.c.canary == canary) & table.c.step.in_(list(places))
    rows = connection.execute(select(*chosen).where(known)).all()
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in chosen]
    step, assigned, *values = columns
    found = {name: np.array(column) for name, column in zip(names, values, strict=True)}
    found["step"] = np.array([places[one] for one in step], np.int64)
    found["treated"] = np.array([one == canary for one in assigned], bool)
    return found


def _user_sums(
    connection: Connection, table: Table, canary: str, places: dict[int, int], names: Sequence[str], user: str
) -> UserSums:
    found = _columns(connection, table, canary, places, tuple(dict.fromkeys((*names, user))))
    codes = np.unique(found[user].astype(str), return_inverse=True)[1].astype(np.int64)
    sums = {name: found[name].astype(np.int64 if name == "user_id" else np.float64) for name in names}
    return UserSums(found["step"], found["treated"], codes, sums)


def _engagement_before(connection: Connection, canary: str) -> tuple[np.ndarray, np.ndarray]:
    """User ids, int64 sorted, and the engagement of each before this was on trial, float64."""
    summed = func.sum(DAYS.c.engagement)
    began_us = connection.execute(select(MARKS.c.value).where(MARKS.c.name == BEGAN + canary)).scalar()
    if began_us is None:
        return np.empty(0, np.int64), np.empty(0)
    # Of the day on which it began, what was before it, or outside of it.
    earlier = (DAYS.c.day <= began_us // DAY_US) & ~DAYS.c.during.contains(f"|{canary}|", autoescape=True)
    statement = select(DAYS.c.user_id, summed).where(earlier).group_by(DAYS.c.user_id).order_by(DAYS.c.user_id)
    rows = connection.execute(statement).all()
    return np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float64)


def _looked_up(before: tuple[np.ndarray, np.ndarray], users: np.ndarray) -> np.ndarray:
    known, values = before
    if not len(known):
        return np.zeros(len(users))
    at = np.minimum(np.searchsorted(known, users), len(known) - 1)
    return np.where(known[at] == users, values[at], 0.0)


def _paired(rows: Sequence) -> PairedLosses:
    users, codes = np.unique(np.array([row.user_id for row in rows], np.int64), return_inverse=True)
    heads = sorted({row.head for row in rows})

    def column(head: str, name: str) -> np.ndarray:
        filled = np.zeros(len(users))
        of_head = [place for place, row in enumerate(rows) if row.head == head]
        filled[codes[of_head]] = [getattr(rows[place], name) for place in of_head]
        return filled

    counted = [column(head, "rows") for head in heads]
    return PairedLosses(
        user=np.arange(len(users)),
        rows=np.max(counted, axis=0).astype(np.int64) if counted else np.zeros(len(users), np.int64),
        positives={head: column(head, "positives").astype(np.int64) for head in heads},
        live={head: column(head, "live_loss") for head in heads},
        canary={head: column(head, "canary_loss") for head in heads},
    )
