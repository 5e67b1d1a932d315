"""Child processes whose imports are paid once: a server imports what they need, and every child is forked from it.

A child is a process of its own, which can be killed outright like any other; it starts in a twentieth of a second instead of
the seconds that torch or polars take to be imported.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

# One server serves all tests of a process, so all of them name their modules here: it imports them when it starts.
# Torch's compiler is among them: every optimiser imports it, in three seconds, before its first step.
IMPORTED = [
    "feature_repo.aggregates.stream_worker",
    "flows.training.distributed",
    "tests.forked_commands",
    "tests.short_training",
    "tests.small_towers",
    "tests.toy_training",
    "torch._dynamo",
    "torch.distributed.run",
]


def forked() -> ForkServerContext:
    """The context whose `Process` forks from the server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context
