"""Child processes whose imports are paid once: a server imports what they need, and every child is forked from it.

A child is a process of its own, which can be killed outright like any other; it starts in a twentieth of a second instead of
the seconds that torch or polars take to be imported.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

# One server serves all tests of a process, so all of them name their modules here: it imports them when it starts.
IMPORTED = ["feature_repo.aggregates.stream_worker", "tests.toy_training"]


def forked() -> ForkServerContext:
    """The context whose `Process` forks from the server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context
