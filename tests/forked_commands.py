"""Programs run as by `python -m MODULE ...` or `python -c PROGRAM ...`, but forked from a process that has their imports.

Such a process has the arguments, environment and streams of a started one, and can be killed outright like one. What torchrun
starts in turn is forked too. Tests that fork commands also start some of them, so that command lines stay tried.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from types import ModuleType, SimpleNamespace
from typing import IO

import pytest

from infra.settings import get_settings
from tests.forked import forked

TORCHRUN = "torch.distributed.run"
Prepare = Callable[[pytest.MonkeyPatch], None]  # what a process does before it runs its program


class ForkedCommand:
    """`subprocess.Popen` of a Python command, as far as the platform and torchrun use it."""

    def __init__(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdout: int | IO | None = None,
        stderr: int | IO | None = None,
        text: bool = True,
        start_new_session: bool = False,
        prepare: Prepare | None = None,
    ) -> None:
        command = [part for part in args[1:] if part != "-u"]
        assert args[0] == sys.executable and command[0] in ("-m", "-c"), f"{args} is no program of Python's"
        self.args, self.stdout = args, None
        reading, heard = _stream(stdout, 1)
        _, complaints = _stream(stderr, 2)
        ready, begun = multiprocessing.Pipe(duplex=False)
        environment = dict(os.environ if env is None else env)
        streams = (heard, complaints, begun)
        self._process = forked().Process(target=_run, args=(command, environment, streams, start_new_session, prepare))
        self._process.start()
        for ours in streams:
            ours.close()
        if reading is not None:
            self.stdout = os.fdopen(reading, "r" if text else "rb")
        try:
            ready.recv()  # it has its streams, and its session if it is to have one: who kills the session finds it
        except EOFError:
            self._process.join()
        ready.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def __enter__(self) -> ForkedCommand:
        return self

    def __exit__(self, *_: object) -> None:
        if self.stdout is not None:
            self.stdout.close()
        self.wait()


def _stream(asked: int | IO | None, own: int) -> tuple[int | None, Connection]:
    """Where we read from, if we do, and what the process writes to: multiprocessing passes only connections to a process."""
    if asked == subprocess.PIPE:
        reading, writing = os.pipe()
        return reading, Connection(writing, readable=False)
    where = own if asked is None else asked if isinstance(asked, int) else asked.fileno()
    return None, Connection(os.dup(where), readable=False)


def _run(
    command: list[str],
    environment: dict[str, str],
    streams: tuple[Connection, Connection, Connection],
    own_session: bool,
    prepare: Prepare | None,
) -> None:
    """The forked process: what Python does when it is started with `command`."""
    *said, begun = streams
    for number, stream in enumerate(said, 1):
        os.dup2(stream.fileno(), number)
        stream.close()
    if own_session:
        os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    get_settings.cache_clear()
    # Its own children are forked from the same server, of which multiprocessing would start another in every process.
    forkserver._forkserver.ensure_running = lambda: None
    begun.send(None)
    begun.close()
    if prepare is not None:
        prepare(pytest.MonkeyPatch())
    try:
        _program(command, prepare)
    finally:
        atexit._run_exitfuncs()  # as a started process does; a forked one ends without
        sys.stdout.flush()


def _program(command: list[str], prepare: Prepare | None) -> None:
    kind, program, *arguments = command
    sys.argv = [program if kind == "-m" else kind, *arguments]
    if kind == "-c":
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
        return
    if program == TORCHRUN:
        from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

        subprocess_handler.Popen = partial(ForkedCommand, prepare=prepare)
    warnings.filterwarnings("ignore", ".* found in sys.modules", RuntimeWarning)  # that is the point
    runpy.run_module(program, run_name="__main__", alter_sys=True)


def fork_commands(patch: pytest.MonkeyPatch, module: ModuleType, prepare: Prepare | None = None) -> None:
    """What `module` starts by `subprocess.Popen` is forked from here on, and runs `prepare` before its program."""
    forking = {**vars(subprocess), "Popen": partial(ForkedCommand, prepare=prepare)}
    patch.setattr(module, "subprocess", SimpleNamespace(**forking))
