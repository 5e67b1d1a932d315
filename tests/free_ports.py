"""Ports for servers that a test starts."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A TCP port on the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_range(size: int) -> int:
    """The first of `size` neighbouring ports that were all free a moment ago."""
    for first in range(20_000, 60_000, size):
        probes = [socket.socket() for _ in range(size)]
        try:
            for number, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + number))
        except OSError:
            continue
        else:
            return first
        finally:
            for probe in probes:
                probe.close()
    raise RuntimeError(f"no {size} neighbouring free ports on the loopback interface")
