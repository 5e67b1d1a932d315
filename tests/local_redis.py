"""A real Redis server for a test, from the machine's own redis-server."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.free_ports import free_port

START_TIMEOUT_S = 20.0


@contextmanager
def local_redis(folder: Path) -> Iterator[int]:
    """Run a server that keeps nothing on disk, with `folder` as its working folder; yields its port.

    Skips the test where the machine has no redis-server.
    """
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine: install Debian's package `redis-server`")
    port = free_port()
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, server)
        yield port
    finally:
        server.terminate()
        server.wait(timeout=15)


def _wait_for(port: int, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with redis.Redis(port=port) as client:
        while time.monotonic() < deadline:
            if server.poll() is not None:
                raise RuntimeError(f"redis-server ended with code {server.returncode} before it answered on port {port}")
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.05)
            else:
                return
    raise TimeoutError(f"redis-server did not answer on port {port} within {START_TIMEOUT_S:.0f} s")
