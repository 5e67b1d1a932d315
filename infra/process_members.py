"""Which processes belong to one of the platform's: its leader's children, and those of a leader that is gone.

A child may begin a session of its own, and outlives a leader that is killed. So each process carries a mark in its environment,
which its children inherit, whatever becomes of the leader.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "MIXER_PROCESS"  # the environment variable that names whose a process is
STOP_GRACE_S = 10.0  # how long a leader may take to stop before it is killed
CHILD_GRACE_S = 2.0  # how long its children get after it
KILL_TIMEOUT_S = 5.0


def mark(name: str, pids: Path) -> str:
    """The mark of process `name` of the platform whose pid files are in `pids`."""
    return f"{name}@{pids}"


def family(pid: int) -> list[psutil.Process]:
    """A living leader, then its children; empty where it is gone.

    A child with another mark is another process of the platform, which this one started: the keeper starts what died.
    """
    try:
        leader = psutil.Process(pid)
        own = _mark_of(leader)
        return [leader, *(child for child in leader.children(recursive=True) if _mark_of(child) in (own, None))]
    except psutil.NoSuchProcess:
        return []


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None  # it ended meanwhile, or is another user's


def marked(wanted: str) -> list[psutil.Process]:
    """The living processes of this user that carry the mark."""
    return [one for one in psutil.process_iter() if one.pid != os.getpid() and _mark_of(one) == wanted and runs(one)]


def left_behind(wanted: str, spares: str = "") -> list[psutil.Process]:
    """What a dead leader left: all that carry its mark, without those whose command has `spares` in it and their children."""
    members = marked(wanted)
    if not spares:
        return members
    spared: set[int] = set()
    for process in members:
        try:
            if spares in " ".join(process.cmdline()):
                spared |= {process.pid, *(child.pid for child in process.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    return [process for process in members if process.pid not in spared]


def end(leader: Iterable[psutil.Process], others: Iterable[psutil.Process]) -> None:
    """Stop the leader politely, then the others, then by force whoever is left."""
    first, rest = list(leader), list(others)
    _tell(first, signal.SIGTERM)
    _, slow = psutil.wait_procs(first, timeout=STOP_GRACE_S)
    survivors = slow + [process for process in rest if runs(process)]
    _tell(survivors, signal.SIGTERM)
    _, slow = psutil.wait_procs(survivors, timeout=CHILD_GRACE_S)
    kill(slow)


def kill(processes: list[psutil.Process]) -> None:
    """End processes at once; returns when they are gone."""
    _tell(processes, signal.SIGKILL)
    deadline = time.monotonic() + KILL_TIMEOUT_S
    # Not until they are reaped: an orphan's new parent takes its time, and a zombie holds no port and no file.
    while any(runs(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.01)


def runs(process: psutil.Process) -> bool:
    """Whether the process is at work: neither gone nor a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _tell(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue  # it ended by itself between the look and the signal: what we wanted
