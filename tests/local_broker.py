"""A real Kafka-protocol broker for a test: the one the platform starts on one machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.free_ports import free_port

START_TIMEOUT_S = 30.0


class LocalBroker:
    """A broker with its log in `folder`, on the same port in each of its lives."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("noida-db")), "start", "--only", "kafka", "--kafka-port", str(self.port)]
        self._process = subprocess.Popen(
            [*command, "--data-dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the command is a launcher: its child must be ended with it
        )
        _wait_for(self.port, self._process)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal to it and its child, and wait until both are gone."""
        os.killpg(self._process.pid, number)
        self._process.wait(timeout=15)
        deadline = time.monotonic() + 15
        while _any_of(self._process.pid):
            if time.monotonic() > deadline:
                raise TimeoutError("the broker did not end within 15 s")
            time.sleep(0.01)

    def close(self) -> None:
        self.end()


@contextmanager
def local_broker(folder: Path) -> Iterator[int]:
    """Run a broker with its data in `folder`; yields its port."""
    broker = LocalBroker(folder)
    broker.start()
    with closing(broker):
        yield broker.port


def _any_of(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for(port: int, broker: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if broker.poll() is not None:
            raise RuntimeError(f"the broker ended with code {broker.returncode} before it took connections on port {port}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"the broker took no connection on port {port} within {START_TIMEOUT_S:.0f} s")
