"""One line of progress from inside a flow, to whoever listens: the demo's display, or the flow run's log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str], None]

_listeners: list[Listener] = []


def announce(text: str) -> None:
    """Tell every listener what is being done now; without a listener it goes to the flow run's log."""
    if _listeners:
        for listener in _listeners:
            listener(text)
        return
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
