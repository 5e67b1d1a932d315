"""A circuit breaker: after repeated failures a component is left alone for a while, then tried with one call."""

from __future__ import annotations

import time
from collections.abc import Callable

FAILURES_TO_OPEN = 5  # consecutive failures after which calls are skipped
COOL_DOWN_S = 5.0  # how long they are skipped before one call is let through


class Breaker:
    """closed -> open after `failures_to_open` failures in a row -> one probe after `cool_down_s` -> closed or open again."""

    def __init__(
        self,
        failures_to_open: int = FAILURES_TO_OPEN,
        cool_down_s: float = COOL_DOWN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures_to_open = failures_to_open
        self._cool_down_s = cool_down_s
        self._clock = clock
        self._failures = 0
        self._retry_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= self._failures_to_open

    def allows(self) -> bool:
        """Whether a call may go ahead now; taking the probe of an open breaker puts the next probe a cool-down away."""
        if not self.is_open:
            return True
        now = self._clock()
        if now < self._retry_at:
            return False
        self._retry_at = now + self._cool_down_s
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        self._retry_at = self._clock() + self._cool_down_s
