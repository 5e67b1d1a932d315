"""Listening sockets that outlive the process which answers on them: while it is started again, clients wait."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

BACKLOG = 1_024  # connections that wait while nobody answers; the system may hold fewer


class HeldSockets:
    """The sockets of one starter of processes, by the name of the process. The keeper holds them as long as it lives."""

    def __init__(self) -> None:
        self._held: dict[str, socket.socket] = {}

    def of(self, name: str, address: tuple[str, int]) -> socket.socket:
        """The socket of process `name`, listening at `address` (host, port). Raises OSError where another one listens there."""
        known = self._held.get(name)
        if known is not None and known.getsockname()[:2] == address:
            return known
        self.let_go(name)
        opened = socket.socket()
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            opened.listen(BACKLOG)
        except OSError:
            opened.close()
            raise
        self._held[name] = opened
        return opened

    def adopt(self, name: str, fd: int) -> None:
        """Hold the socket with number `fd` of this process too, which listens for process `name`."""
        self.let_go(name)
        self._held[name] = socket.socket(fileno=os.dup(fd))

    def numbers(self) -> dict[str, int]:
        """The socket's number in this process, by the name of the process that it listens for."""
        return {name: held.fileno() for name, held in self._held.items()}

    def let_go(self, name: str) -> None:
        """Close our copy: it goes on listening as long as the process has its own."""
        held = self._held.pop(name, None)
        if held is not None:
            with suppress(OSError):
                held.close()

    def names(self) -> list[str]:
        return list(self._held)
