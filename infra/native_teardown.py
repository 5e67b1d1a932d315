"""Quiet at the very end of a process, where nobody can act on what is printed."""

from __future__ import annotations

import atexit
import os
import sys


def mute_native_teardown() -> None:
    """Drop what native extensions print on stderr after the interpreter has ended.

    DuckDB's lists its own leaked types there, dozens of lines, at every exit. Call this early: what is registered first
    runs last, so all other exit handlers can still be heard.
    """
    atexit.register(_close_stderr)


def _close_stderr() -> None:
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
