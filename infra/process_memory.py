"""Memory that is free inside a process but not given back to the machine."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Return freed memory to the operating system; worth it after a step that held large tables for a while.

    The C library keeps freed blocks for later use: in a process that goes on to wait, nobody else can have them.
    Does nothing where the C library is not glibc.
    """
    gc.collect()
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
