"""A real PostgreSQL server for tests, from Debian's package, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.free_ports import free_port

DEBIANS = Path("/usr/lib/postgresql")  # Debian keeps the server's programs out of the search path


def _program(name: str) -> str:
    places = [str(folder / "bin") for folder in sorted(DEBIANS.glob("*"), reverse=True)]
    found = shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("no PostgreSQL server on this machine: install Debian's package `postgresql`")
    return found


@contextmanager
def local_postgres() -> Iterator[str]:
    """Run a server; yields its SQLAlchemy URL. Skips where the machine has none.

    The server refuses to be root's: then it is that of the user whom Debian's package brings.
    """
    initdb, control = _program("initdb"), _program("pg_ctl")
    user = "postgres" if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg") as name:  # a short path: a socket's name has room for a hundred bytes
        folder = Path(name)
        if user:
            shutil.chown(folder, user)

        def run(*command: str) -> None:
            done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

        data, port = folder / "data", free_port()
        run(initdb, "-D", str(data), "-A", "trust", "-U", "mixer", "--no-sync", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        run(control, "-D", str(data), "-w", "-t", "60", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://mixer@127.0.0.1:{port}/postgres"
        finally:
            run(control, "-D", str(data), "-w", "-m", "immediate", "stop")
