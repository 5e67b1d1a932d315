"""Ports for servers that a test starts."""

from __future__ import annotations

import os
import socket

_PORTS_OF_A_WORKER = 5_000


def free_port() -> int:
    """A TCP port on the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_range(size: int) -> int:
    """The first of `size` neighbouring ports that were all free a moment ago.

    Each process of a test run looks among ports of its own: a server may be started minutes after its port was chosen.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    lowest = 12_000 + worker * _PORTS_OF_A_WORKER
    for first in range(lowest, lowest + _PORTS_OF_A_WORKER, size):
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
