"""What a long-running process is started from, and what is known of it while it lives. Both are kept in files as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import psutil

LISTEN_FD = "MIXER_LISTEN_FD"  # the environment variable with the number of the socket that a process was handed
HELD_SOCKETS = "MIXER_HELD_SOCKETS"  # that with the sockets that a keeper was handed, as name=number,name=number


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
    listens: tuple[str, int] | None = None  # host and port of a socket that whoever starts it opens, and hands on as LISTEN_FD
    beats: bool = False  # whether its loop touches the file that HEARTBEAT names
    silent_s: float = 60.0  # without a beat, or any answer at `ready_url`, after which it is taken for hung
    spares: str = ""  # children with this in their command outlive a leader that dies, though not one that is stopped

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ProcessSpec:
        known = {one.name for one in fields(cls)}  # another version of the platform may have written more
        content = {name: value for name, value in json.loads(text).items() if name in known}
        file = content.pop("ready_file", None)
        listens = content.pop("listens", None)
        return cls(
            **{**content, "command": tuple(content["command"])},
            ready_file=None if file is None else Path(file),
            listens=None if listens is None else (listens[0], listens[1]),
        )


def start_ticks(pid: int) -> int:
    """When the process started, in clock ticks since the machine did. Raises psutil.NoSuchProcess where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        # No /proc, as on macOS: the nearest second, which a step of the clock may change.
        return round(psutil.Process(pid).create_time())
    return int(stat.rpartition(")")[2].split()[19])  # the 22nd field; the second, in brackets, may hold anything


@dataclass(frozen=True)
class Running:
    """A live process of the platform."""

    name: str
    pid: int
    started_at: float  # Unix seconds
    ticks: int  # at which it started, since the machine did: tells a reused pid apart, whatever becomes of the clock
    command: tuple[str, ...]
    ready_url: str | None = None

    def alive(self) -> bool:
        try:
            return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE and start_ticks(self.pid) == self.ticks
        except psutil.NoSuchProcess:
            return False

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Running:
        content = json.loads(text)
        return cls(**{**content, "command": tuple(content["command"])})
