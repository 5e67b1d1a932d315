"""One line of progress from inside a flow, to whoever listens, such as the demo's display, and to the flow run's log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str], None]

_listeners: list[Listener] = []


def announce(text: str) -> None:
    """Tell every listener what is being done now, and the log of the flow run where this is one."""
    for listener in _listeners:
        listener(text)
    if "prefect.context" not in sys.modules:
        return  # nobody has begun a run; importing Prefect would take seconds
    from prefect.context import get_run_context
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_run_logger

    try:
        get_run_context()
    except MissingContextError:
        return  # called as a plain function, outside any run
    get_run_logger().info(text)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hear every `announce` of this process while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
