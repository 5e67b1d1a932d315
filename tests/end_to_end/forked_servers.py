"""Servers of a tour, forked from a process that has imported all they need: the same code, started in a tenth of a second.

A mixer answers by uvicorn instead of BentoML's own server, which the whole tour tries; all else is as the supervisor starts it.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from typing import BinaryIO

import uvicorn
from fastapi import FastAPI

from infra.process_spec import ProcessSpec
from infra.settings import get_settings
from infra.supervisor import Supervisor

SERVER_IMPORTS = (
    "services.gateway.__main__",
    "services.releases.__main__",
    "monitoring.outcomes.__main__",
    "feature_repo.aggregates.stream_worker",
    "services.mixer.app",
    "services.mixer.runtime",
    "services.mixer.release",
    "services.mixer.warm_up",
    "uvloop",
    "httptools",
)
MODULES = {
    "gateway": "services.gateway.__main__",
    "controller": "services.releases.__main__",
    "outcomes": "monitoring.outcomes.__main__",
    "stream-worker": "feature_repo.aggregates.stream_worker",
}


def start_forked_servers() -> None:
    """From here on this process's supervisors fork what they start, where they can. To be called before any thread starts."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    context.Process(target=_fork_on_demand, args=(theirs, ours), daemon=True).start()
    theirs.close()
    exec_it = Supervisor._spawn

    def spawn(self: Supervisor, spec: ProcessSpec, log: BinaryIO) -> int:
        if spec.name not in MODULES and not spec.name.startswith("mixer-"):
            return exec_it(self, spec, log)
        environment = self.settings.process_environment(spec.environment)
        ours.send((spec.name, log.name, environment, spec.ready_port))
        return ours.recv()

    Supervisor._spawn = spawn


def _fork_on_demand(asked: Connection, other_end: Connection) -> None:
    """Fork a server for each request, until `other_end` is closed."""
    other_end.close()  # this process's copy of it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system takes ended children away
    while True:
        try:
            name, log, environment, port = asked.recv()
        except EOFError:
            return
        pid = os.fork()
        if pid:
            asked.send(pid)
            continue
        code = 1
        try:
            asked.close()
            _be_server(name, log, environment, port)
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _be_server(name: str, log: str, environment: dict[str, str], port: int | None) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    stream = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    os.environ.update(environment)
    get_settings.cache_clear()
    if name in MODULES:
        importlib.import_module(MODULES[name]).main()
    else:
        asyncio.run(_serve_mixer(port))


async def _serve_mixer(port: int) -> None:
    """As `services.mixer.service` does it: load, warm up, answer, drain."""
    from services.mixer.app import create_app
    from services.mixer.release import served_manifest
    from services.mixer.runtime import MixerRuntime
    from services.mixer.warm_up import warm_up

    settings = get_settings()

    @asynccontextmanager
    async def runtime(app: FastAPI) -> AsyncIterator[None]:
        app.state.runtime = MixerRuntime(settings, served_manifest(settings))
        app.state.runtime.start()
        await warm_up(app.state.runtime)
        yield
        await app.state.runtime.engine.drain()
        app.state.runtime.close()

    app = create_app()
    app.router.lifespan_context = runtime
    config = uvicorn.Config(app, host=settings.host, port=port, access_log=False, log_level="warning")
    await uvicorn.Server(config).serve()
