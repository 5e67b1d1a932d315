"""Tells people what became of releases, and of processes that die again and again: by webhook, e-mail, chat (Apprise).

Which entries were told is stored, so that a restart forgets none; one that was being sent when the process died is sent again.
Sending is a thread's business: a mail server that does not answer must not keep a rollback waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Column, Integer, Table, select

from infra.database import create_tables, metadata, open_engine, read_transaction, write_transaction
from infra.process_status import StatusFile
from services.releases.chain import LedgerEntry
from services.releases.ledger import Ledger
from services.releases.states import ReleaseState

TOLD_STATES = (ReleaseState.CANARY, ReleaseState.AWAITING_APPROVAL, ReleaseState.LIVE, ReleaseState.ROLLED_BACK)
LOOK_EVERY_S = 2.0
AGAIN_S = 30.0  # after a message that nobody took

NOTIFIED = Table(
    "notified",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("seq", Integer, nullable=False),  # the last ledger entry that was told
)

TRIES = 5  # of an address that does not take a message; then the next message has its turn

Send = Callable[[str, str], bool]  # title and body; whether the address took it
log = structlog.get_logger("notifications")


class NotifierError(ValueError):
    """The file of addresses can't be used; the message says why."""


def apprise_senders(file: Path) -> list[Send]:
    """One for each address of an Apprise configuration file.

    Raises NotifierError for a file that holds no address. Addresses hold secrets, so none is ever printed.
    """
    import apprise

    if not file.is_file():
        raise NotifierError(f"MIXER_NOTIFICATIONS names {file}, which is no file: give an Apprise configuration file")
    config = apprise.AppriseConfig()
    config.add(str(file))
    sender = apprise.Apprise()
    sender.add(config)
    if not len(sender):
        raise NotifierError(f"{file} holds no address that Apprise knows: one a line, such as mailto://user:password@mail.net")
    return [partial(_send, address) for address in sender]


def _send(address: Any, title: str, body: str) -> bool:
    return bool(address.notify(title=title, body=body))


def _sent(send: Send, title: str, body: str) -> bool:
    """Whether the address took it. One that raises did not, and keeps nobody else from being told."""
    try:
        return send(title, body)
    except Exception:  # of somebody's library
        log.exception("an address could not be told", title=title)
        return False


class Notifier:
    """Follows the ledger of the platform database at `url` and the keeper's status, and sends what is new."""

    def __init__(
        self, url: str, pids: Path, senders: Sequence[Send], control_room: str, acts: Callable[[], bool] = lambda: True
    ) -> None:
        """control_room: its address, which ends every message. acts: whether this process is the one that tells."""
        self._engine = open_engine(url)
        create_tables(self._engine, NOTIFIED.name)
        self._ledger, self._status, self._senders, self._where = Ledger(url), StatusFile(pids), senders, control_room
        self._acts = acts
        self._looping: set[str] = set()  # crash loops that were told
        self._took: dict[str, set[int]] = {}  # by message, the senders that are done with it
        self._tries: dict[str, int] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="notifications", daemon=True)

    def start(self) -> None:
        """Begin with what happens from now on, where nothing was told before."""
        if self._told() is None:
            head = self._ledger.head()
            self._note(0 if head is None else head[0])
        self._thread.start()

    def close(self) -> None:
        """Stop; what is not sent yet is sent by the next one."""
        self._closing.set()

    def look(self) -> bool:
        """Send what is new; False where an address did not take a message, and is to be tried again."""
        if not self._acts():
            return True
        told = self._told() or 0
        for entry in self._ledger.entries():
            if entry.seq <= told:
                continue
            if entry.state in TOLD_STATES and not self._tell(f"entry {entry.seq}", *self.words(entry)):
                return False
            self._note(entry.seq)
        return self._tell_loops()

    def _tell(self, message: str, title: str, body: str) -> bool:
        """Send to every address that has not taken it yet; one that does not in TRIES tries is passed over, and named."""
        took = self._took.setdefault(message, set())
        for place, send in enumerate(self._senders):
            if place not in took and _sent(send, title, body):
                took.add(place)
        left = len(self._senders) - len(took)
        self._tries[message] = self._tries.get(message, 0) + 1
        if left and self._tries[message] < TRIES:
            return False
        if left:
            log.error("addresses did not take a notification", addresses=left, tries=TRIES, title=title)
        del self._took[message], self._tries[message]
        return True

    def words(self, entry: LedgerEntry) -> tuple[str, str]:
        """Title and body of an entry's message."""
        what = {
            ReleaseState.CANARY: f"{entry.release_id} is a canary for {entry.percent or 0:g} % of users",
            ReleaseState.AWAITING_APPROVAL: f"{entry.release_id} waits for your answer",
            ReleaseState.LIVE: f"{entry.release_id} is live",
            ReleaseState.ROLLED_BACK: f"{entry.release_id} was rolled back",
        }[entry.state]
        return f"Home Mixer: {what}", f"{entry.reason}\nby {entry.actor} at {entry.at[:19]} UTC\n{self._where}"

    def _tell_loops(self) -> bool:
        looping = self._status.looping()
        for name in sorted(set(looping) - self._looping):
            title = f"Home Mixer: process {name} dies again and again"
            if not self._tell(f"process {name}", title, f"{looping[name].said}\n{self._where}"):
                return False
            self._looping.add(name)
        self._looping &= set(looping)
        return True

    def _follow(self) -> None:
        pause = LOOK_EVERY_S
        while not self._closing.wait(pause):
            try:
                pause = LOOK_EVERY_S if self.look() else AGAIN_S
            except Exception:  # a database that is away, a library's fault: people are told later
                log.exception("notifications wait")
                pause = AGAIN_S
            if pause == AGAIN_S:
                log.warning("a notification was not taken by every address; it is sent again", after_s=AGAIN_S)

    def _told(self) -> int | None:
        with read_transaction(self._engine) as connection:
            return connection.execute(select(NOTIFIED.c.seq).where(NOTIFIED.c.id == 1)).scalar()

    def _note(self, seq: int) -> None:
        with write_transaction(self._engine) as connection:
            connection.execute(NOTIFIED.delete().where(NOTIFIED.c.id == 1))
            connection.execute(NOTIFIED.insert().values(id=1, seq=seq))
