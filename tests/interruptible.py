"""Child processes that hear SIGINT or do not, wherever the suite itself runs."""

from __future__ import annotations

import signal


def hear_interrupts() -> None:
    """For `preexec_fn`: a suite that runs in the background ignores SIGINT, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ignore_interrupts() -> None:
    """For `preexec_fn`: as a shell starts what it puts into the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
