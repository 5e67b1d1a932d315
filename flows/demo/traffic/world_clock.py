"""World time: runs at a multiple of real time, never beyond the present, never far ahead of what was served."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from feature_repo.datasets.world.day_curve import HOUR_US

AHEAD_US = HOUR_US  # that world time may be ahead of the oldest page still asked for: a slow platform slows the people
BEHIND_PRESENT_US = 60_000_000  # that it stays behind the present: intake refuses events of the future
LONGEST_STEP_S = 1.0  # a process that was stopped for a while does not catch up
TICK_S = 0.05
MEASURED_S = 20.0  # of real time, over which the speed that was held is measured

PLATFORM = "the platform is slower than that"
PRESENT = "world time has reached the present"
AWAY = "the gateway does not answer"


def present_us() -> int:
    """Real time as UTC microseconds."""
    return time.time_ns() // 1_000


class WorldClock:
    """`now_us`: world time, UTC microseconds. Somebody has to call `tick` about every TICK_S."""

    def __init__(
        self,
        now_us: int,
        speed: float,
        monotonic: Callable[[], float] = time.monotonic,
        present: Callable[[], int] = present_us,
    ) -> None:
        self.now_us, self.speed = now_us, speed
        self.held_by: str | None = None  # what keeps the clock from its speed just now
        self.hurries = False
        self._monotonic, self._present = monotonic, present
        self._last = monotonic()
        self._marks: deque[tuple[float, int]] = deque([(self._last, now_us)])

    def tick(self, oldest_due_us: int | None, *, away: bool = False) -> None:
        """Go on by the real time since the last tick.

        oldest_due_us: when the oldest page that is not there yet was wanted; away: the gateway can't be reached, so time rests.
        """
        now = self._monotonic()
        wanted = self.now_us + round(min(now - self._last, LONGEST_STEP_S) * self.speed * 1e6)
        self._last = now
        limits = {PRESENT: self._present() - BEHIND_PRESENT_US}
        if oldest_due_us is not None:
            limits[PLATFORM] = oldest_due_us + AHEAD_US
        if away:
            limits[AWAY] = self.now_us
        tightest = min(limits, key=limits.__getitem__)
        self.held_by = tightest if limits[tightest] < wanted else None
        self.now_us = max(self.now_us, min(wanted, limits[tightest]))
        self._marks.append((now, self.now_us))
        while self._marks[0][0] < now - MEASURED_S:
            self._marks.popleft()

    def speed_held(self) -> float:
        """World time per real time over the last MEASURED_S."""
        (began, from_us), (ended, to_us) = self._marks[0], self._marks[-1]
        return (to_us - from_us) / 1e6 / (ended - began) if ended > began else 0.0

    def hurry(self) -> None:
        """Let nobody wait any more: the visits under way are to end now."""
        self.hurries = True

    async def until(self, moment_us: int) -> None:
        """Return once world time has reached `moment_us`, at once where everybody hurries."""
        while self.now_us < moment_us and not self.hurries:
            await asyncio.sleep(min(max((moment_us - self.now_us) / 1e6 / self.speed, TICK_S), 0.5))
