"""`mixer status`: each process in a row, and below it the last death, the live release and the canary."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.table import Table

from flows.steps.platform import Platform
from infra.process_events import ProcessEvents
from infra.process_status import ProcessStatus, StatusFile, standing
from infra.supervisor import KEEPER
from services.releases.route import Route


def status_table(platform: Platform, memory: Mapping[str, float]) -> Table:
    """What runs, what is starting and what is dead. memory: megabytes by process."""
    supervisor, paths = platform.supervisor, platform.settings.paths
    table = Table("process", "pid", "memory", "restarts", "", title=str(paths.home), title_justify="left")
    known, kept = StatusFile(paths.pids).read(), supervisor.find(KEEPER) is not None
    for name in supervisor.wanted_names():
        running, spec, status = supervisor.find(name), supervisor.wanted(name), known.get(name, ProcessStatus())
        if spec is None:
            continue  # it was stopped on purpose meanwhile
        ready = running is not None and supervisor.is_ready(spec, running)
        said = standing(spec, running, ready=ready, status=status, kept=kept, now=time.time())
        pid, size = (str(running.pid), f"{memory.get(name, 0):,.0f} MB") if running else ("-", "-")
        colour = "yellow" if said.startswith("starting") else "red"
        table.add_row(name, pid, size, str(status.restarts), f"[{colour}]{said}[/]")
    for name, part in platform.missing_mixers().items():
        table.add_row(name, "-", "-", "-", f"[red]was not started, and the ledger needs it ({part}): `mixer up` starts it[/]")
    return table


def said_below(platform: Platform) -> list[str]:
    """The last death, and which releases have the traffic; of a platform that is down only the death, where one was noted."""
    death = ProcessEvents(platform.settings.paths.pids).last_death()
    lines = [] if death is None else [f"last death: {death.process} at {death.at[:19]} UTC: {death.detail}"]
    if not platform.is_wanted():
        return lines
    return [*(lines or ["last death: none was noted"]), *releases_said(platform.route())]


def releases_said(route: Route) -> list[str]:
    """The live release and the canary, a line each."""
    live = f"live: {route.live}" if route.live else "live: no release; `mixer start` makes the first"
    canary = f"canary: {route.canary}, for {route.canary_percent:g} % of users" if route.canary else "canary: none"
    return [live, canary]
