"""The gateway's eye on the platform's processes: it revives the keeper that revives all others, and counts what died."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from infra.process_events import ProcessEvent, ProcessEvents
from infra.process_status import ProcessStatus, StatusFile
from infra.processes import KEEPER
from infra.settings import Settings
from infra.supervisor import Supervisor

LOOK_EVERY_S = 1.0

log = structlog.get_logger("gateway.processes")


class ProcessWatch(Collector):
    """Where no process keeper was started, as on Kubernetes, there is nothing to watch, and nothing is reported."""

    def __init__(self, settings: Settings) -> None:
        self._supervisor = Supervisor(settings)
        if settings.listen_fd is not None:
            # A keeper that is started from here holds the door's socket on, as the one did that started the door.
            self._supervisor.sockets.adopt("gateway", settings.listen_fd)
        self._events, self._status = ProcessEvents(settings.paths.pids), StatusFile(settings.paths.pids)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look; needs a running loop."""
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def looping(self) -> list[str]:
        """The names of the processes that die again and again."""
        return sorted(self._status.looping())

    def newest(self, most: int) -> list[ProcessEvent]:
        """What happened to processes last, newest first."""
        return list(reversed(self._events.newest(most)))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                revived = await asyncio.to_thread(self._supervisor.revive, KEEPER)
            except Exception as error:  # whatever it is, the next look tries again: nobody else revives the keeper
                log.error("the process keeper could not be started", error=f"{type(error).__name__}: {error}")
                continue
            if revived is not None:
                log.warning("the process keeper was started again", pid=revived.pid)

    # ---- Prometheus -----------------------------------------------------------------------------------------------
    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("home_mixer_process_up", "1 while the process lives.", labels=["process"])
        restarts = GaugeMetricFamily("home_mixer_process_restarts", "Starts after a death.", labels=["process"])
        looping = GaugeMetricFamily(
            "home_mixer_process_crash_looping", "1 while the process dies again and again.", labels=["process"]
        )
        status = self._status.read()
        for name in self._supervisor.wanted_names():
            up.add_metric([name], float(self._supervisor.find(name) is not None))
            known = status.get(name, ProcessStatus())
            restarts.add_metric([name], known.restarts)
            looping.add_metric([name], float(known.looping_since is not None))
        yield from (up, restarts, looping)

    def describe(self) -> list[Metric]:
        """Nothing: registering must not read files."""
        return []
