"""What libraries print or log while the demo runs goes to the run's log; the terminal belongs to the display."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def libraries_to_log(log: Path) -> Iterator[None]:
    """Send this process's logging, stdout and stderr to `log` while the block runs."""
    root = logging.getLogger()
    with log.open("a", buffering=1) as stream:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        root.addHandler(handler)
        _silence_consoles(handler)
        try:
            with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
                yield
        finally:
            root.removeHandler(handler)


def _silence_consoles(handler: logging.Handler) -> None:
    """Prefect has console handlers of its own: point them at the log too."""
    from prefect.logging.configuration import setup_logging
    from prefect.logging.handlers import PrefectConsoleHandler

    setup_logging()  # once, now: a flow's own call of it then leaves the handlers as they are
    known = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    for logger in (logging.getLogger(), *known):
        for own in [own for own in logger.handlers if isinstance(own, PrefectConsoleHandler)]:
            logger.removeHandler(own)
            if not logger.propagate:
                logger.addHandler(handler)
