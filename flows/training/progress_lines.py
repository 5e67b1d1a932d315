"""How a training process tells its progress to the process that started it: a line of standard output each.

Who tells ends where nobody reads any more (BrokenPipeError): so no training outlives the process that wanted it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from flows.training.epochs import OnProgress

TAIL = 2_000  # characters that are passed on of what a failed process said
_BEGINNING = "progress "


def say(name: str, share: float, loss: float) -> None:
    """Tell it to whoever started this process."""
    print(_BEGINNING + json.dumps([name, share, loss]), flush=True)


def hear(lines: Iterable[str], on_progress: OnProgress | None) -> None:
    """Pass on what a process says of its progress, until it says nothing more; other lines are left out."""
    for line in lines:
        if line.startswith(_BEGINNING) and on_progress is not None:
            on_progress(*json.loads(line.removeprefix(_BEGINNING)))
