"""Local supervisor: long-running processes with pid files, logs and readiness checks.

State is in files only (`paths.pids`), so any process can start, adopt or stop what another one started: what is wanted
(`wanted/NAME.json`), what runs (`NAME.json`), and a lock for each name. What is wanted and dead, the keeper starts again.
"""

from __future__ import annotations

import fcntl
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import psutil

from infra.heartbeat import HEARTBEAT
from infra.held_sockets import HeldSockets
from infra.process_members import MARK, end, family, kill, left_behind, mark, marked
from infra.process_spec import HELD_SOCKETS, LISTEN_FD, ProcessFailed, ProcessSpec, Running, start_ticks
from infra.settings import Settings
from infra.storage import replace_atomically

POLL_S = 0.1  # how often a readiness check is repeated
KEEPER = "keeper"  # the name of the process that starts the others again
DYING_S = 3.0  # how long a port may stay taken by nobody: a killed process of many threads lets go of it a little later
KEEPER_TIMEOUT_S = 5.0  # within which it starts what is wanted


class Supervisor:
    """Starts, adopts and stops the platform's processes under one home folder."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.paths = settings.paths
        self.sockets = HeldSockets()
        self.is_keeper = False  # whether this is the keeper's: it holds sockets, the others leave such processes to it

    # ---- starting -------------------------------------------------------------------------------------------------
    def start(self, spec: ProcessSpec) -> Running:
        """Start `spec`, or adopt it when it is alive and was started from the same; does not wait for readiness.

        From now on it is wanted: a process keeper starts it again whenever it dies. Raises ProcessFailed where it can't start.
        """
        with self._locked(spec.name):
            before = self.wanted(spec.name)
            with replace_atomically(self._wanted_file(spec.name)) as temporary:
                temporary.touch(0o600)  # its environment may hold an address with a password
                temporary.write_text(spec.to_json())
            running = self.find(spec.name)
            same = before is None or before == spec
            if running and running.command == spec.command and same:
                return running
            if running:
                self._end(running)
            if spec.listens is None or self.is_keeper or self.find(KEEPER) is None:
                return self._start(spec)
        return self._await_keeper(spec)

    def _await_keeper(self, spec: ProcessSpec) -> Running:
        """The keeper starts what listens, since it holds the socket on; where it does not come to it, we do."""
        deadline = time.monotonic() + KEEPER_TIMEOUT_S
        while time.monotonic() < deadline:
            if (running := self.find(spec.name)) is not None and running.command == spec.command:
                return running
            time.sleep(POLL_S)
        with self._locked(spec.name):
            return self.find(spec.name) or self._start(spec)

    def revive(self, name: str) -> Running | None:
        """Start `name` again if it is wanted and dead, and return it; else None. Raises ProcessFailed as `start` does."""
        if self.find(name):
            return None
        with self._locked(name):
            spec = self.wanted(name)  # within the lock: somebody may have stopped it on purpose
            return None if spec is None or self.find(name) else self._start(spec)

    def _start(self, spec: ProcessSpec) -> Running:
        """Start a process that does not run. Children that an earlier leader of that name left behind are ended first."""
        kill(left_behind(self._mark(spec.name), spec.spares))
        self._pid_file(spec.name).unlink(missing_ok=True)
        if spec.ready_port is not None and spec.listens is None:
            self._require_free(spec)
        self.paths.logs.mkdir(parents=True, exist_ok=True)
        with self._log(spec.name).open("ab") as log:
            pid = self._spawn(spec, log)
        try:
            born, ticks = psutil.Process(pid).create_time(), start_ticks(pid)
        except psutil.NoSuchProcess as error:
            raise ProcessFailed(f"{spec.name} ended as soon as it was started; {self._log_end(spec.name)}") from error
        running = Running(spec.name, pid, born, ticks, spec.command, spec.ready_url)
        with replace_atomically(self._pid_file(spec.name)) as temporary:
            temporary.write_text(running.to_json())
        return running

    def _spawn(self, spec: ProcessSpec, log: BinaryIO) -> int:
        """The pid of a new process that runs `spec`."""
        environment, handed = {**spec.environment, MARK: self._mark(spec.name)}, ()
        if spec.listens is not None:
            handed = (self._socket_of(spec),)
            environment[LISTEN_FD] = str(handed[0])
        if spec.name == KEEPER and (numbers := self.sockets.numbers()):
            handed = tuple(numbers.values())
            environment[HELD_SOCKETS] = ",".join(f"{name}={number}" for name, number in numbers.items())
        if spec.beats:
            environment[HEARTBEAT] = str(self.heartbeat(spec.name))
        process = subprocess.Popen(
            spec.command,
            pass_fds=handed,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Its own session: Ctrl-C in the terminal reaches the caller only, which then stops things in order.
            start_new_session=True,
            env=self.settings.process_environment(environment),
        )
        if self.is_keeper:
            # The keeper reads the exit codes of its children. A Popen without `returncode` that is dropped is waited for by
            # the next Popen of this process, which throws the exit code away.
            process.returncode = 0
        elif spec.listens is not None:
            self.sockets.let_go(spec.name)
        return process.pid

    def _socket_of(self, spec: ProcessSpec) -> int:
        host, port = spec.listens
        try:
            return self.sockets.of(spec.name, (host, port)).fileno()
        except OSError as error:
            raise ProcessFailed(
                f"{spec.name} cannot start: port {port} is taken by another program{_holder(port)}; "
                f"free it, or choose another port (`mixer settings` names the variable)"
            ) from error

    def wait_ready(self, spec: ProcessSpec) -> None:
        """Return when `spec` is ready; raise ProcessFailed when it ends or its time is up."""
        deadline = time.monotonic() + spec.ready_timeout_s
        while time.monotonic() < deadline:
            running = self.find(spec.name)
            if self._passes_check(spec, running):
                return
            if running is None:
                raise ProcessFailed(f"{spec.name} ended before it was ready; {self._log_end(spec.name)}")
            time.sleep(POLL_S)
        raise ProcessFailed(f"{spec.name} was not ready within {spec.ready_timeout_s:.0f} s; {self._log_end(spec.name)}")

    def _passes_check(self, spec: ProcessSpec, running: Running | None) -> bool:
        if spec.ready_url and _answers(spec.ready_url):
            return True
        if spec.ready_file and running and _written_since(spec.ready_file, running.started_at):
            return True
        silent = not spec.ready_url and not spec.ready_file
        return silent and (spec.ready_port is None or _listens(self.settings.host, spec.ready_port))

    def is_ready(self, spec: ProcessSpec, running: Running) -> bool:
        """Whether a live process is at work now: it passes the check of `spec`, and has beaten lately where it beats."""
        lately = max(running.started_at, time.time() - spec.silent_s)
        beaten = not spec.beats or _written_since(self.heartbeat(spec.name), lately)
        return beaten and self._passes_check(spec, running)

    # ---- looking --------------------------------------------------------------------------------------------------
    def find(self, name: str) -> Running | None:
        """The live process called `name`, or None."""
        try:
            running = Running.from_json(self._pid_file(name).read_text())
        except (FileNotFoundError, TypeError, ValueError):  # another version of the platform wrote it, or half of it
            return None
        return running if running.alive() else None

    def running(self) -> list[Running]:
        """All live processes of the platform, by name."""
        names = sorted(file.stem for file in self.paths.pids.glob("*.json"))
        return [process for process in (self.find(name) for name in names) if process]

    def wanted(self, name: str) -> ProcessSpec | None:
        """What `name` was started from, unless it was stopped on purpose."""
        try:
            return ProcessSpec.from_json(self._wanted_file(name).read_text())
        except FileNotFoundError:
            return None

    def wanted_names(self) -> list[str]:
        """The processes that were started and not stopped on purpose, whether they live or not."""
        return sorted(file.stem for file in (self.paths.pids / "wanted").glob("*.json"))

    # ---- stopping -------------------------------------------------------------------------------------------------
    def stop(self, name: str) -> bool:
        """Stop `name` and its children: first politely, then by force. Returns whether it was alive. It is wanted no longer."""
        self._wanted_file(name).unlink(missing_ok=True)  # at once: a `revive` that waits for the lock too must not start it
        with self._locked(name):
            self._wanted_file(name).unlink(missing_ok=True)  # again: a `start` that had the lock may have written it since
            running = self.find(name)
            if running is not None:
                self._end(running)
            else:  # its leader died, and its children may not have
                kill(left_behind(self._mark(name)))
                self._pid_file(name).unlink(missing_ok=True)
            return running is not None

    def kill(self, running: Running) -> None:
        """End a process that hangs, with its children, at once; it stays wanted."""
        with self._locked(running.name):
            if self.find(running.name) == running:
                kill(family(running.pid))

    def _end(self, running: Running) -> None:
        members = family(running.pid)
        known = {process.pid for process in members}
        end(members[:1], [*members[1:], *(one for one in marked(self._mark(running.name)) if one.pid not in known)])
        self._pid_file(running.name).unlink(missing_ok=True)

    def stop_all(self, order: Sequence[str] = ()) -> list[str]:
        """Stop everything, the names in `order` first; returns what was stopped. Nothing stays wanted."""
        names = sorted({*self.wanted_names(), *(file.stem for file in self.paths.pids.glob("*.json"))})
        ordered = [name for name in order if name in names] + [name for name in names if name not in order]
        return [name for name in ordered if self.stop(name)]

    # ---- memory and logs ------------------------------------------------------------------------------------------
    def memory_mb(self) -> dict[str, float]:
        """Proportional memory (PSS) of each process with its children, in MB."""
        return {process.name: sum(_pss(member) for member in family(process.pid)) / 1e6 for process in self.running()}

    def total_mb(self, also: int) -> float:
        """Proportional memory of all processes and of process `also`, each with its children and counted once, in MB."""
        leaders = (also, *(process.pid for process in self.running()))
        return sum(_pss(member) for member in {member for pid in leaders for member in family(pid)}) / 1e6

    def log_tail(self, name: str, lines: int = 15) -> str:
        try:
            return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def _log_end(self, name: str) -> str:
        return f"end of {self._log(name)}:\n{self.log_tail(name)}"

    def _require_free(self, spec: ProcessSpec) -> None:
        """Raise ProcessFailed where another program listens on the port of `spec`."""
        port, deadline = spec.ready_port or 0, time.monotonic() + DYING_S
        while _listens(self.settings.host, port):
            holder = _holder(port)
            if holder or time.monotonic() > deadline:
                raise ProcessFailed(
                    f"{spec.name} cannot start: port {port} is taken by another program{holder}; "
                    f"free it, or choose another port (`mixer settings` names the variable)"
                )
            time.sleep(POLL_S / 10)

    # ---- files ----------------------------------------------------------------------------------------------------
    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Nobody else starts or stops `name` meanwhile."""
        self.paths.pids.mkdir(parents=True, exist_ok=True)
        with (self.paths.pids / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _mark(self, name: str) -> str:
        return mark(name, self.paths.pids)

    def heartbeat(self, name: str) -> Path:
        """The file that a process touches which beats."""
        return self.paths.pids / f"{name}.beat"

    def _pid_file(self, name: str) -> Path:
        return self.paths.pids / f"{name}.json"

    def _wanted_file(self, name: str) -> Path:
        return self.paths.pids / "wanted" / f"{name}.json"

    def _log(self, name: str) -> Path:
        return self.paths.logs / f"{name}.log"


def free_port(host: str, first: int, span: int = 200) -> int:
    """The first port from `first` on that nothing listens on; raise ProcessFailed when all of `span` are taken."""
    for port in range(first, first + span):
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise ProcessFailed(f"no free port in {first}..{first + span - 1} on {host}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2.0) as response:
            return 200 <= response.status < 300
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _written_since(file: Path, moment: float) -> bool:
    try:
        return file.stat().st_mtime >= moment
    except FileNotFoundError:
        return False


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def _holder(port: int) -> str:
    """Who listens on the port, as far as this user may know."""
    try:
        holders = {
            one.pid for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN and one.laddr.port == port
        }
        return "".join(f" (pid {pid}: {' '.join(psutil.Process(pid).cmdline())[:120]})" for pid in holders if pid)
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return ""


def _pss(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
