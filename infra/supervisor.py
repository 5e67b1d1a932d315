"""Local supervisor: long-running processes with pid files, logs and readiness checks.

State is in files only (`paths.pids`), so any process can start, adopt or stop what another one started.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import psutil

from infra.settings import Settings
from infra.storage import replace_atomically

POLL_S = 0.1  # how often a readiness check is repeated
STOP_GRACE_S = 10.0  # how long a process may take to stop before it is killed


class ProcessFailed(RuntimeError):
    """A process ended, or did not become ready in time; the message holds the end of its log."""


@dataclass(frozen=True)
class ProcessSpec:
    """How to run one process, and how to know that it is ready: an HTTP address that answers 2xx, a TCP port, or a file that it
    writes once it is at work."""

    name: str
    command: tuple[str, ...]
    ready_url: str | None = None
    ready_port: int | None = None
    ready_file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_timeout_s: float = 120.0


@dataclass(frozen=True)
class Running:
    """A live process of the platform."""

    name: str
    pid: int
    started_at: float  # Unix seconds, as the operating system has it: tells a reused pid apart
    command: tuple[str, ...]
    ready_url: str | None = None

    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - self.started_at) < 1.0
        except psutil.NoSuchProcess:
            return False


class Supervisor:
    """Starts, adopts and stops the platform's processes under one home folder."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.paths = settings.paths

    def start(self, spec: ProcessSpec) -> Running:
        """Start `spec`, or adopt it when it is already alive with the same command; does not wait for readiness."""
        running = self.find(spec.name)
        if running and running.command == spec.command:
            return running
        if running:
            self.stop(spec.name)
        if spec.ready_port is not None:
            self._require_free(spec)
        self.paths.logs.mkdir(parents=True, exist_ok=True)
        with self._log(spec.name).open("ab") as log:
            pid = self._spawn(spec, log)
        try:
            born = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess as error:
            raise ProcessFailed(f"{spec.name} ended as soon as it was started; {self._log_end(spec.name)}") from error
        running = Running(spec.name, pid, born, spec.command, spec.ready_url)
        with replace_atomically(self._pid_file(spec.name)) as temporary:
            temporary.write_text(json.dumps(running.__dict__))
        return running

    def _spawn(self, spec: ProcessSpec, log: BinaryIO) -> int:
        """The pid of a new process that runs `spec`."""
        process = subprocess.Popen(
            spec.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Its own session: Ctrl-C in the terminal reaches the caller only, which then stops things in order.
            start_new_session=True,
            env=self.settings.process_environment(spec.environment),
        )
        return process.pid

    def wait_ready(self, spec: ProcessSpec) -> None:
        """Return when `spec` is ready; raise ProcessFailed when it ends or its time is up."""
        deadline = time.monotonic() + spec.ready_timeout_s
        while time.monotonic() < deadline:
            if spec.ready_url and _answers(spec.ready_url):
                return
            running = self.find(spec.name)
            if spec.ready_file and running and _written_since(spec.ready_file, running.started_at):
                return
            silent = not spec.ready_url and not spec.ready_file
            if silent and (spec.ready_port is None or _listens(self.settings.host, spec.ready_port)):
                return
            if running is None:
                raise ProcessFailed(f"{spec.name} ended before it was ready; {self._log_end(spec.name)}")
            time.sleep(POLL_S)
        raise ProcessFailed(f"{spec.name} was not ready within {spec.ready_timeout_s:.0f} s; {self._log_end(spec.name)}")

    def find(self, name: str) -> Running | None:
        """The live process called `name`, or None; a stale pid file is removed."""
        file = self._pid_file(name)
        try:
            content = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        running = Running(**{**content, "command": tuple(content["command"])})
        if running.alive():
            return running
        file.unlink(missing_ok=True)
        return None

    def running(self) -> list[Running]:
        """All live processes of the platform, by name."""
        names = sorted(file.stem for file in self.paths.pids.glob("*.json"))
        return [process for process in (self.find(name) for name in names) if process]

    def stop(self, name: str) -> bool:
        """Stop `name` and its children: first politely, then by force. Returns whether it was alive."""
        running = self.find(name)
        if running is None:
            return False
        family = _family(running.pid)
        for member in family[:1]:
            _signal(member, signal.SIGTERM)
        _, alive = psutil.wait_procs(family[:1], timeout=STOP_GRACE_S)
        survivors = alive + [child for child in family[1:] if child.is_running()]
        for member in survivors:
            _signal(member, signal.SIGTERM)
        _, alive = psutil.wait_procs(survivors, timeout=2.0)
        for member in alive:
            _signal(member, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=5.0)
        self._pid_file(name).unlink(missing_ok=True)
        return True

    def stop_all(self, order: Sequence[str] = ()) -> list[str]:
        """Stop everything, the names in `order` first; returns what was stopped."""
        names = [process.name for process in self.running()]
        ordered = [name for name in order if name in names] + [name for name in names if name not in order]
        return [name for name in ordered if self.stop(name)]

    def memory_mb(self) -> dict[str, float]:
        """Proportional memory (PSS) of each process with its children, in MB."""
        return {process.name: sum(_pss(member) for member in _family(process.pid)) / 1e6 for process in self.running()}

    def total_mb(self, also: int) -> float:
        """Proportional memory of all processes and of process `also`, each with its children and counted once, in MB."""
        leaders = (also, *(process.pid for process in self.running()))
        return sum(_pss(member) for member in {member for pid in leaders for member in _family(pid)}) / 1e6

    def log_tail(self, name: str, lines: int = 15) -> str:
        try:
            return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def _log_end(self, name: str) -> str:
        return f"end of {self._log(name)}:\n{self.log_tail(name)}"

    def _require_free(self, spec: ProcessSpec) -> None:
        if _listens(self.settings.host, spec.ready_port or 0):
            raise ProcessFailed(
                f"{spec.name} cannot start: port {spec.ready_port} is taken by another program; "
                f"free it, or choose another port (`mixer settings` names the variable)"
            )

    def _pid_file(self, name: str) -> Path:
        return self.paths.pids / f"{name}.json"

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


def _family(pid: int) -> list[psutil.Process]:
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return  # it ended by itself between the look and the signal: what we wanted


def _pss(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
