"""`python -m services.releases`: the controller, until SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import threading
from types import FrameType

import httpx
import structlog
from sqlalchemy.exc import OperationalError

from infra.process_events import ProcessEvents
from infra.processes import mixer_name
from infra.settings import get_settings
from services.releases.controller import Controller
from services.releases.events import tell_end
from services.releases.published_heads import PublishedHeads

LOOK_EVERY_S = 1.0

log = structlog.get_logger("releases")


def main() -> None:
    """Look once a second. A look that finds no database is told and tried again: releases wait where they are."""
    leaving = threading.Event()

    def leave(_signal: int, _frame: FrameType | None) -> None:
        leaving.set()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    settings = get_settings()
    heads = PublishedHeads(settings.paths.releases)
    events = ProcessEvents(settings.paths.pids)

    def dies_again(release_id: str) -> str | None:
        name = mixer_name(release_id)
        return next((event.detail for event in events.looping() if event.process == name), None)

    controller = Controller(settings.platform_database_url, f"{socket.gethostname()}:{os.getpid()}", dies_again)
    while not leaving.is_set():
        try:
            done = controller.look()
            if done is not None:
                log.info(done)
            if controller.holding:
                publish_head(controller, heads)
            tell_ended(controller, settings.prefect_api_url)
        except OperationalError as error:
            log.error("the platform's database does not answer; looking again", error=str(error.orig))
        leaving.wait(LOOK_EVERY_S)
    controller.lease.give_up()


def publish_head(controller: Controller, heads: PublishedHeads) -> None:
    """Keep the newest hash outside of the database, whoever wrote the entry. Nothing is added to a ledger that was cut."""
    entries = controller.ledger.entries()
    if (problems := heads.problems(entries)) and entries:
        log.error("the ledger is not what was published", problems=problems)
    elif entries:
        heads.publish(entries[-1])


def tell_ended(controller: Controller, prefect_api_url: str) -> None:
    """Tell the flows of every end that they were not told of; what Prefect does not take now, it is told at the next look."""
    for entry in controller.ended():
        try:
            tell_end(prefect_api_url, entry.release_id, str(entry.state))
        except httpx.HTTPError as error:
            log.warning("Prefect could not be told that a release ended", release=entry.release_id, error=str(error))
            return
        controller.rollouts.mark_told(entry.release_id, entry.seq)


if __name__ == "__main__":
    main()
