"""A controller that is killed in the middle of any of its writes: the next one ends up where it would have."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, event

from services.releases.decisions import decide
from tests.unit.releases.controlled import Controlled, controlled, opened

WAY = ["built", "canary 25", "canary 50", "awaiting_approval", "live"]
MOST_WRITES = 100


class Killed(BaseException):
    """As a signal would: nothing catches it."""


@contextmanager
def killed_at(number: int) -> Iterator[list[int]]:
    """Kill whoever is about to commit for the time `number`; yields a list whose length is the commits so far."""
    commits: list[int] = []

    def about_to_commit(connection: Connection) -> None:
        commits.append(len(commits))
        if len(commits) == number:
            raise Killed

    event.listen(Engine, "commit", about_to_commit)
    try:
        yield commits
    finally:
        event.remove(Engine, "commit", about_to_commit)


def copy_of(run: Controlled, folder: Path) -> Controlled:
    """The same platform, as it is now, in a folder of its own."""
    folder.mkdir()
    file = folder / "platform.db"
    with closing(sqlite3.connect(run.url.removeprefix("sqlite:///"))) as old, closing(sqlite3.connect(file)) as new:
        old.backup(new)
    url = f"sqlite:///{file}"
    return Controlled(url, run.clock, opened(url, "first"), met=run.met)


def killed_look(run: Controlled, number: int) -> bool:
    """A look that is killed in its write `number`, and then one of the next controller; False where it has fewer writes."""
    with killed_at(number) as commits:
        try:
            run.look()
        except Killed:
            run.restart()
            run.look()
    return len(commits) >= number


def test_whichever_write_a_controller_is_killed_in_the_next_one_ends_up_at_the_same(tmp_path, monkeypatch):
    run, writes = controlled(tmp_path, monkeypatch, time.time()), 0
    for place, reached in enumerate(WAY[1:]):
        if reached == "live":
            decide(run.url, "r2", "approve", "Ada", "fine")
        for number in range(1, MOST_WRITES):
            other = copy_of(run, tmp_path / f"{place}-{number}")
            if not killed_look(other, number):
                break
            writes += 1
            assert other.states() == WAY[: place + 2]
            assert other.controller.ledger.verify() == []
            assert len(other.controller.approvals.pending()) == (reached == "awaiting_approval")
        run.look()
        assert run.states()[-1] == reached
        run.visits()
    assert writes > 2 * len(WAY)
