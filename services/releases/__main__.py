"""`python -m services.releases`: the controller, until SIGTERM."""

from __future__ import annotations

import os
import socket
import threading
from functools import partial

import structlog

from infra.heartbeat import Heartbeat
from infra.interrupts import asked_to_leave
from infra.logs import configure_logs
from infra.process_status import StatusFile
from infra.processes import mixer_name
from infra.settings import Settings, get_settings
from monitoring.canary.policy import policy_of
from services.releases.controller import Controller
from services.releases.judging import Judging
from services.releases.notifications import Notifier, NotifierError, apprise_senders
from services.releases.prefect_api import PrefectApi
from services.releases.prefect_side import PrefectSide
from services.releases.published_heads import PublishedHeads, missing_heads

LOOK_EVERY_S = 1.0

log = structlog.get_logger("releases")


def main() -> None:
    """Look once a second. A look that fails is told and tried again: releases wait where they are."""
    leaving = asked_to_leave()
    configure_logs()
    settings = get_settings()
    heads = PublishedHeads(settings.paths.releases)
    status = StatusFile(settings.paths.pids)

    def dies_again(release_id: str) -> str | None:
        looping = status.looping().get(mixer_name(release_id))
        return None if looping is None else looping.said

    policy = policy_of(settings.judge_policy)
    judging = Judging(settings.platform_database_url, settings.outcomes_url, policy)
    controller = Controller(settings.platform_database_url, f"{socket.gethostname()}:{os.getpid()}", judging, dies_again)
    steps = (
        partial(take_along, controller),
        partial(publish_head, controller, heads),
    )
    notifier = _notifier(settings, controller)
    # In a thread of its own: however long Prefect's server takes to answer, no rollback waits for it.
    api = PrefectApi(settings.prefect_api_url)
    prefect = PrefectSide(settings.platform_database_url, controller, heads, api, settings.gateway_url)
    threading.Thread(target=prefect.keep_looking, args=(leaving,), name="prefect", daemon=True).start()
    heartbeat = Heartbeat(settings.heartbeat)
    while not leaving.is_set():
        heartbeat.beat()
        for step in steps:
            try:
                step()
            except Exception:  # whatever is wrong with one thing, the others go on: a rollback must never wait for a file
                log.exception("looking again")
        leaving.wait(LOOK_EVERY_S)
    if notifier is not None:
        notifier.close()
    controller.lease.give_up()


def _notifier(settings: Settings, controller: Controller) -> Notifier | None:
    """What tells people, where the settings name addresses. A file that can't be used is told in the log, and stops nothing."""
    if settings.notifications is None:
        return None
    try:
        senders = apprise_senders(settings.notifications)
    except NotifierError as error:
        log.error("nobody is notified", why=str(error))
        return None
    notifier = Notifier(
        settings.platform_database_url, settings.paths.pids, senders, f"{settings.gateway_url}/", lambda: controller.holding
    )
    notifier.start()
    return notifier


def take_along(controller: Controller) -> None:
    """One look, told in the log where something was done."""
    if (done := controller.look()) is not None:
        log.info(done)


def publish_head(controller: Controller, heads: PublishedHeads) -> None:
    """Keep the newest hash outside of the database, whoever wrote the entry. Nothing is added to a ledger that was cut."""
    head = controller.ledger.head() if controller.holding else None
    if head is None or head == heads.newest():
        return
    published = heads.all()
    entries = controller.ledger.entries()
    if problems := missing_heads(published, entries):
        log.error("the ledger is not what was published", problems=problems)
    else:
        heads.publish(entries[-1])


if __name__ == "__main__":
    main()
