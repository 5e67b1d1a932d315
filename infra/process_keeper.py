"""`python -m infra.process_keeper`: starts again what died of the platform's processes, and kills first what hangs.

It has no state of its own: what is wanted and what runs is in the supervisor's files. So a keeper that is killed loses
nothing, and the next one takes over what runs without a restart. The gateway watches the keeper, and the keeper the gateway.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from copy import deepcopy

import structlog

from infra.hung_processes import HungProcesses
from infra.interrupts import asked_to_leave
from infra.logs import configure_logs
from infra.process_events import ProcessEvents
from infra.process_spec import ProcessFailed, Running
from infra.process_status import ProcessStatus, StatusFile
from infra.processes import KEEPER
from infra.restarts import STEADY_S, Restarts
from infra.settings import Settings, get_settings
from infra.supervisor import Supervisor

LOOK_EVERY_S = 0.25

log = structlog.get_logger("process_keeper")


class ProcessKeeper:
    """Looks at every wanted process, again and again."""

    def __init__(self, settings: Settings) -> None:
        self.supervisor = Supervisor(settings)
        self.supervisor.is_keeper = True
        self.events, self._file = ProcessEvents(settings.paths.pids), StatusFile(settings.paths.pids)
        self._seen: dict[str, Running] = {}
        self._restarts: dict[str, Restarts] = {}
        self._hung = HungProcesses()
        self.exits: dict[int, int] = {}  # by pid, the exit codes of children that ended since the last look
        self._status = self._file.read()  # of the keeper before: a crash loop does not end with it

    def look(self, now: float) -> None:
        """One look at all; `now` in seconds of a clock that only goes forward."""
        before = deepcopy(self._status)
        self._hung.begin(now)
        wanted = [name for name in self.supervisor.wanted_names() if name != KEEPER]
        for name in wanted:
            try:
                self._look_at(name, now)
            except Exception:  # whatever is wrong with one of them, the others are kept; the log has it
                log.exception("could not be looked at", process=name)
        for name in {*self._seen, *self._status, *self.supervisor.sockets.names()} - set(wanted):
            self._forget(name)
        if self._status != before:
            self._file.write(self._status)

    def _look_at(self, name: str, now: float) -> None:
        restarts = self._restarts.setdefault(name, Restarts())
        running = self.supervisor.find(name)
        if running is not None:
            if running != self._seen.get(name):
                self._seen[name] = running
                restarts.started(now)
            self._note_life(name, restarts, now)
            self._end_if_hung(running, now)
            return
        if (gone := self._seen.pop(name, None)) is not None:
            detail, again = f"pid {gone.pid}{self._how_ended(gone.pid)}", _when(restarts.died(now))
            log.warning("process died", process=name, detail=detail, started_again=again)
            self.events.add(name, "died", f"{detail}; started again {again}")
            self._note_loop(name, restarts)
        if now >= restarts.next_at:
            self._start_again(name, restarts, now)

    def _note_life(self, name: str, restarts: Restarts, now: float) -> None:
        status = self._status.get(name)
        steady = restarts.steady(now) or (status is not None and status.looping_since and restarts.lived(now))
        if steady and status is not None and status.looping_since is not None:
            status.looping_since, status.said = None, ""
            self.events.add(name, "steady again", f"it has lived for {STEADY_S:.0f} s")

    def _end_if_hung(self, running: Running, now: float) -> None:
        """What hangs is killed; the next look finds it dead, and starts it again."""
        spec = self.supervisor.wanted(running.name)
        if spec is None:
            return
        silent_s = self._hung.silent_for(running, spec, self.supervisor.heartbeat(running.name), now)
        if silent_s > spec.silent_s:
            log.warning("process hangs", process=running.name, pid=running.pid, silent_s=round(silent_s))
            self.supervisor.kill(running)  # first: on a full disk nothing can be noted
            self.events.add(running.name, "hung", f"pid {running.pid} gave no sign for {silent_s:.0f} s, and was killed")

    def _start_again(self, name: str, restarts: Restarts, now: float) -> None:
        if restarts.loops():
            self.supervisor.sockets.let_go(name)  # clients are refused, and do not wait for what does not come
        try:
            running = self.supervisor.revive(name)
        except (ProcessFailed, OSError) as error:
            again = _when(restarts.died(now))
            log.warning("process did not start", process=name, error=str(error), tried_again=again)
            self.events.add(name, "did not start", f"tried again {again}: {error}")
            self._note_loop(name, restarts)
            return
        if running is None:
            return
        self._seen[name] = running
        restarts.started(now)
        # What listens is started here for the first time too, since the socket is held here.
        again = bool(restarts.in_a_row)
        status = self._status.setdefault(name, ProcessStatus())
        status.restarts += again
        self.events.add(name, "restarted" if again else "started", f"pid {running.pid}")
        log.info("started", process=name, pid=running.pid)

    def _how_ended(self, pid: int) -> str:
        """How a process ended, in words; nothing where that is not known, as of one that another process started."""
        code = self.exits.pop(pid, None)
        if code is None:
            with suppress(ChildProcessError):
                ended, status = os.waitpid(pid, os.WNOHANG)
                code = os.waitstatus_to_exitcode(status) if ended else None
        if code is None:
            return ""
        return f", killed by {signal.Signals(-code).name}" if code < 0 else f", exit code {code}"

    def _note_loop(self, name: str, restarts: Restarts) -> None:
        status = self._status.setdefault(name, ProcessStatus())
        if restarts.loops() and status.looping_since is None:
            end = self.supervisor.log_tail(name, lines=3)
            status.said = f"it died, or did not start, {restarts.in_a_row} times in a row; its log ends: {end}"
            status.looping_since = self.events.add(name, "crash loop", status.said).at

    def _forget(self, name: str) -> None:
        """Of what was stopped on purpose."""
        self.supervisor.sockets.let_go(name)
        self._seen.pop(name, None)
        self._restarts.pop(name, None)
        self._hung.forget(name)
        status = self._status.pop(name, None)
        if status is not None and status.looping_since is not None:
            self.events.add(name, "steady again", "it was stopped on purpose")


def _when(wait_s: float) -> str:
    return f"in {wait_s:.0f} s" if wait_s else "at once"


def reap() -> dict[int, int]:
    """The exit codes, by pid, of children that ended: the keeper is the parent of what it started."""
    codes: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return codes
        if pid == 0:
            return codes
        codes[pid] = os.waitstatus_to_exitcode(status)


def main() -> None:
    """Look until SIGTERM; the processes go on without it."""
    leaving = asked_to_leave()
    configure_logs()
    settings = get_settings()
    keeper = ProcessKeeper(settings)
    for held in filter(None, settings.held_sockets.split(",")):
        name, _, number = held.partition("=")
        keeper.supervisor.sockets.adopt(name, int(number))
        os.close(int(number))
    try:
        keeper.events.add(KEEPER, "keeper started", f"pid {os.getpid()}")
    except OSError:  # a full disk
        log.exception("that the keeper started could not be noted")
    while not leaving.is_set():
        keeper.exits = reap()
        try:
            keeper.look(time.monotonic())
        except OSError:  # a full disk: the processes are kept as soon as there is room again
            log.exception("the keeper could not look")
        leaving.wait(LOOK_EVERY_S)


if __name__ == "__main__":
    main()
