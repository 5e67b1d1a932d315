"""Takes messages and events into the outcomes, each exactly once: offsets move in the transaction that stores the sums.

A process that is killed reads again from the offsets of its last transaction, of which nothing else was kept either.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from feature_repo.served_messages import ANOTHER_ANSWERED, DEFAULT_POSTS, NOT_NUMBERS, DoorAnswer, ServedPage
from infra.database import create_tables, lock_table, metadata, open_engine, read_transaction, write_transaction
from monitoring.canary.time_bins import bin_of
from monitoring.outcomes.answers import Event, answer_pages
from monitoring.outcomes.open_pages import close_old_pages, pages_of_users, ripe_pages, save_pages, take_in
from monitoring.outcomes.page import DAY_US, Page, Sums, page_sums, splits_of
from monitoring.outcomes.tables import KEYS, LOSSES, MARKS, NAMES, OFFSETS, PAGE_SUMS, REQUEST_SUMS, TIMES

NEWEST = "newest_event_us"
CHANGED = "changed:"
LEARNED = "learned_us:"  # by the clock of the wall, when something was learned of a trial last
BEGAN = "began_us:"  # by the clock of the events, the first page of a trial
TAKEN = "taken_us"  # by the clock of the wall, when outcomes were taken in last
SETTLED_US = 10_000_000  # a page's first events are on their way for so long, whatever the events' clock says
RIPE_AT_ONCE = 2_000
TIDY_EVERY_US = 60_000_000  # by the clock of the wall
SHORT_SHARE = 0.5  # of the posts asked for; a page with fewer is short

_CHUNK = 2_000


@dataclass(frozen=True)
class Offset:
    """How far a partition was read."""

    following: int
    generation: int = 0


@dataclass
class Taken:
    """What one transaction took in, and what became of it."""

    pages: int = 0
    answers: int = 0
    events: int = 0
    unmatched: int = 0
    ripe: int = 0
    closed: int = 0
    odd: list[str] = field(default_factory=list)  # messages that fit nothing, in words


class Overtaken(RuntimeError):
    """Another process takes in the same records; each would count twice."""


class OutcomeStore:
    """The outcomes in the database at `url`.

    weights: engagement by place in HEADS. label_wait_us: by the clock of the events, how long after a page its labels are
    taken for complete. kept_us: by the clock of the wall, how long a trial is kept of which nothing new is learned.
    """

    def __init__(self, url: str, weights: tuple[float, ...], label_wait_us: int, kept_us: int = 180 * DAY_US) -> None:
        self._engine = open_engine(url)
        self._weights, self._label_wait_us, self._kept_us = weights, label_wait_us, kept_us
        self._tidied_us = 0
        self._known: dict[tuple[str, int], Offset] = {}  # how far this object read
        create_tables(self._engine, *NAMES)

    def offsets(self, topic: str) -> dict[int, Offset]:
        """How far each partition of the topic was taken in."""
        with read_transaction(self._engine) as connection:
            rows = connection.execute(select(OFFSETS).where(OFFSETS.c.topic == topic))
            found = {row.partition: Offset(row.following, row.generation) for row in rows}
        self._known |= {(topic, partition): offset for partition, offset in found.items()}
        return found

    def take(
        self,
        pages: Sequence[ServedPage],
        answers: Sequence[DoorAnswer],
        events: Sequence[Event],
        offsets: Mapping[tuple[str, int], Offset],
        newest_us: int | None = None,
        now_us: int | None = None,
        *,
        fresh: bool = True,
    ) -> Taken:
        """Store all of it in one transaction. newest_us: the newest event's moment; now_us: by the clock of the wall.

        fresh: whether nothing is known to wait at the broker. Raises Overtaken where another process took in the same records.
        """
        now_us = time.time_ns() // 1_000 if now_us is None else now_us
        taken, added = Taken(answers=len(answers), events=len(events)), Added()
        with write_transaction(self._engine) as connection:
            lock_table(connection, OFFSETS.name)  # one reader at a time, on PostgreSQL too
            newest = self._note_newest(connection, newest_us)
            open_pages = pages_of_users(connection, [*(one.user_id for one in pages), *(one.user_id for one in events)])
            before = {id(page): page_sums(page, self._weights) for own in open_pages.values() for page in own}
            changed: dict[int, Page] = {}
            for message in pages:
                try:
                    found = take_in(open_pages, message)
                except ValueError as error:
                    taken.odd.append(f"page {message.request_id!r} of {message.release}: {error}")
                    continue
                taken.pages += 1
                changed |= {id(page): page for page in found}
            answered, taken.unmatched = answer_pages(open_pages, events)
            changed |= {id(page): page for page in answered}
            known = {page.row for own in open_pages.values() for page in own if page.row is not None}
            for page in ripe_pages(connection, newest - self._label_wait_us, now_us - SETTLED_US, RIPE_AT_ONCE):
                one = page if page.row not in known else next(it for it in open_pages[page.user_id] if it.row == page.row)
                before.setdefault(id(one), page_sums(page, self._weights))
                one.mature = True
                changed[id(one)] = one
                taken.ripe += 1
            for page in changed.values():
                added.note_trials(page)
                added.replace(before.get(id(page), {}), page_sums(page, self._weights))
            save_pages(connection, list(changed.values()))
            for answer in answers:
                added.answer(answer)
            self._add(connection, added, now_us)
            self._note_offsets(connection, offsets)
            if fresh:
                self._mark(connection, TAKEN, now_us)
            if now_us - self._tidied_us >= TIDY_EVERY_US:
                taken.closed, self._tidied_us = close_old_pages(connection, now_us), now_us
                forget_trials(connection, now_us - self._kept_us)
        self._known |= offsets
        return taken

    def changes(self, canary: str) -> int:
        """A number that grows whenever something is learned of the canary."""
        with read_transaction(self._engine) as connection:
            return connection.execute(select(MARKS.c.value).where(MARKS.c.name == CHANGED + canary)).scalar() or 0

    # ---- within a transaction -------------------------------------------------------------------------------------
    def _note_newest(self, connection: Connection, newest_us: int | None) -> int:
        known = connection.execute(select(MARKS.c.value).where(MARKS.c.name == NEWEST)).scalar() or 0
        if newest_us is None or newest_us <= known:
            return known
        self._mark(connection, NEWEST, newest_us)
        return newest_us

    def _mark(self, connection: Connection, name: str, value: int) -> None:
        statement = self._insert(MARKS.name).values(name=name, value=value)
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))

    def _add(self, connection: Connection, added: Added, now_us: int) -> None:
        for name, sums in added.sums.items():
            keys = KEYS[name]
            rows = [dict(zip(keys, key, strict=True)) | values for key, values in sums.items() if any(values.values())]
            if not rows:
                continue
            if name == "outcome_days":
                rows = [row | {"logged_us": now_us} for row in rows]
            statement = self._insert(name)
            table = metadata.tables[name]
            counted = [column for column in rows[0] if column not in keys and column != "logged_us"]
            summed = {column: table.c[column] + statement.excluded[column] for column in counted}
            connection.execute(statement.on_conflict_do_update(index_elements=list(keys), set_=summed), rows)
        for trial, began_us in added.began.items():
            name = BEGAN + trial
            if connection.execute(select(MARKS.c.value).where(MARKS.c.name == name)).scalar() is None:
                self._mark(connection, name, began_us)
        for canary in added.canaries:
            known = connection.execute(select(MARKS.c.value).where(MARKS.c.name == CHANGED + canary)).scalar() or 0
            self._mark(connection, CHANGED + canary, known + 1)
            self._mark(connection, LEARNED + canary, now_us)

    def _note_offsets(self, connection: Connection, offsets: Mapping[tuple[str, int], Offset]) -> None:
        for (topic, partition), offset in offsets.items():
            self._refuse_overtaken(connection, topic, partition)
            values = {"following": offset.following, "generation": offset.generation}
            statement = self._insert(OFFSETS.name).values(topic=topic, partition=partition, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["topic", "partition"], set_=values))

    def _refuse_overtaken(self, connection: Connection, topic: str, partition: int) -> None:
        place = (OFFSETS.c.topic == topic) & (OFFSETS.c.partition == partition)
        row = connection.execute(select(OFFSETS).where(place)).first()
        found = None if row is None else Offset(row.following, row.generation)
        if found != self._known.get((topic, partition)):
            raise Overtaken(f"{topic} {partition}: another process has taken in records up to {found}; only one may do so")

    def _insert(self, name: str):
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        return dialect.insert(metadata.tables[name])


def forget_trials(connection: Connection, since_us: int) -> list[str]:
    """Delete all that is known of canaries and experiments of which nothing was learned since then; returns their names."""
    old = (MARKS.c.name.startswith(LEARNED, autoescape=True)) & (MARKS.c.value < since_us)
    names = [name.removeprefix(LEARNED) for name in connection.execute(select(MARKS.c.name).where(old)).scalars()]
    for name in names:
        for table in (PAGE_SUMS, REQUEST_SUMS, TIMES, LOSSES):
            connection.execute(delete(table).where(table.c.canary == name))
        connection.execute(delete(MARKS).where(MARKS.c.name.in_([mark + name for mark in (LEARNED, CHANGED, BEGAN)])))
    return names


@dataclass
class Added:
    """What is to be added to the sums, by table and key."""

    sums: dict[str, Sums] = field(default_factory=dict)
    canaries: set[str] = field(default_factory=set)
    began: dict[str, int] = field(default_factory=dict)  # by trial, the moment of its first page here

    def note_trials(self, page: Page) -> None:
        """Note since when a canary or an experiment is on trial, as far as this page tells."""
        for trial, _, _ in splits_of(page.canary, page.step, page.assigned, page.experiments) if page.shown else ():
            self.began[trial] = min(self.began.get(trial, page.at_us), page.at_us)

    def replace(self, before: Mapping[str, Sums], after: Mapping[str, Sums]) -> None:
        """A page that added `before` adds `after` from now on."""
        for sign, one in ((-1.0, before), (1.0, after)):
            for table, sums in one.items():
                for key, values in sums.items():
                    self._count(table, key, {name: sign * value for name, value in values.items()})

    def answer(self, answer: DoorAnswer) -> None:
        """Count how a request ended; outside of a canary and of experiments there is nothing to compare it with."""
        is_page = answer.status == 200 and answer.path != "/score"
        asked = answer.asked or DEFAULT_POSTS
        values = {
            "requests": 1.0,
            "failed": float(answer.status != 200 or answer.wrong == ANOTHER_ANSWERED),
            "pages": float(is_page),
            "empty": float(is_page and answer.posts == 0),
            "not_numbers": float(is_page and answer.wrong == NOT_NUMBERS),
            "short": float(is_page and answer.posts < SHORT_SHARE * asked),
        }
        for split in splits_of(answer.canary, answer.step, answer.assigned, answer.experiments):
            self._count("outcome_request_sums", (*split, answer.user), values)
            if answer.status < 500:
                self._count("outcome_times", (*split, answer.user, int(bin_of(max(answer.ms, 0.0)))), {"count": 1.0})

    def _count(self, table: str, key: tuple, values: Mapping[str, float]) -> None:
        row = self.sums.setdefault(table, {}).setdefault(key, dict.fromkeys(values, 0.0))
        for name, value in values.items():
            row[name] += value
        if table != "outcome_days":
            self.canaries.add(key[0])
