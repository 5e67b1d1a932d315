"""Ctrl-C that is heard, although a library may swallow it, and SIGTERM that leaves nothing behind."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REPEAT_S = 5.0


class Interrupts:
    """While the block runs, Ctrl-C raises KeyboardInterrupt in the main thread, again every `repeat_s` until `heard`.

    Python raises an interrupt wherever the main thread happens to be; inside a C library's callback or a `__del__` it is
    printed and lost. Where SIGINT is ignored (a job in the background of a shell) it stays ignored. Main thread only.
    """

    def __init__(self, repeat_s: float = REPEAT_S) -> None:
        self.repeat_s = repeat_s
        self._asked = threading.Event()
        self._heard = threading.Event()
        self._raising = threading.Lock()
        self._before = signal.getsignal(signal.SIGINT)

    def __enter__(self) -> Interrupts:
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._interrupt)
            threading.Thread(target=self._repeat, name="interrupts", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heard()

    def heard(self) -> None:
        """The interrupt was caught, or none is awaited any more: raise no further one by ourselves."""
        self._heard.set()
        self._asked.set()
        with self._raising:  # one that is being raised right now comes first: our handler still stands and drops it
            pass
        signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._asked.set()
        if not self._heard.is_set():
            raise KeyboardInterrupt

    def _repeat(self) -> None:
        self._asked.wait()
        while not self._heard.wait(self.repeat_s):
            with self._raising:
                if not self._heard.is_set():
                    logging.getLogger(__name__).warning("the interrupt was swallowed somewhere: raised again")
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@contextmanager
def termination_unwinds() -> Iterator[None]:
    """Let SIGTERM end the program through its `finally` blocks, exit code 143: what it started is stopped. Main thread only."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave(code: int) -> None:
    """End the process now, with its output and logs flushed but without waiting for libraries' threads.

    For use after the servers were stopped: Prefect's log and event services would wait at exit for a server that is gone.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def asked_to_leave() -> threading.Event:
    """An event that SIGTERM and SIGINT set from now on: a worker ends its round, and then itself. Main thread only."""
    leaving = threading.Event()

    def leave(_signal: int, _frame: FrameType | None) -> None:
        leaving.set()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    return leaving
