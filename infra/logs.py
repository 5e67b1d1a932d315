"""Where processes of the platform write their log lines: to standard output, which the supervisor keeps in a file."""

from __future__ import annotations

from typing import Any

import structlog


class PatientLogger(structlog.PrintLogger):
    """A line that finds no room on a full disk raises nothing, as in Python's own logging: it must not end who wrote it.

    What was not written stays in the stream's buffer, and comes out with a later line.
    """

    def msg(self, message: str) -> None:
        try:
            super().msg(message)
        except OSError:
            return

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def configure_logs() -> None:
    """Have structlog's loggers of this process write with PatientLogger; all else stays structlog's own."""
    structlog.configure(logger_factory=_make)


def _make(*_: Any) -> PatientLogger:
    return PatientLogger()
