"""A real Kafka-protocol broker for a test: the one the platform starts on one machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.free_ports import free_port

START_TIMEOUT_S = 30.0


@contextmanager
def local_broker(folder: Path) -> Iterator[int]:
    """Run a broker with its data in `folder`; yields its port."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("noida-db")), "start", "--only", "kafka", "--kafka-port", str(port)]
    broker = subprocess.Popen(
        [*command, "--data-dir", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # the command is a launcher: its child must be ended with it
    )
    try:
        _wait_for(port, broker)
        yield port
    finally:
        os.killpg(broker.pid, signal.SIGTERM)
        broker.wait(timeout=15)


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
