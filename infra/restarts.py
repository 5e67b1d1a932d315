"""When a process that died is started again: at once, then ever later while it keeps dying. Pure: the caller has the clock."""

from __future__ import annotations

from dataclasses import dataclass, field

STEADY_S = 60.0  # a process that lived so long starts with a clean slate
LONGEST_WAIT_S = 30.0
LOOP_DEATHS = 3  # deaths in a row, each before STEADY_S, that make a crash loop


@dataclass
class Restarts:
    """The deaths of one process, counted while they follow one another closely."""

    in_a_row: int = 0
    next_at: float = 0.0  # not before this moment, in the caller's seconds
    _started_at: float | None = field(default=None, repr=False)  # of the life under way; None while it is dead

    def started(self, now: float) -> None:
        self._started_at = now

    def died(self, now: float) -> float:
        """Note a death (or a start that failed); returns the seconds until the next start: 0, 1, 2, 4 ... LONGEST_WAIT_S."""
        self.in_a_row = 1 if self.lived(now) else self.in_a_row + 1
        self._started_at = None  # a start that fails is no new life
        wait = 0.0 if self.in_a_row == 1 else min(2.0 ** (self.in_a_row - 2), LONGEST_WAIT_S)
        self.next_at = now + wait
        return wait

    def loops(self) -> bool:
        """Whether it dies again and again."""
        return self.in_a_row >= LOOP_DEATHS

    def lived(self, now: float) -> bool:
        """Whether the life under way has lasted STEADY_S."""
        return self._started_at is not None and now - self._started_at >= STEADY_S

    def steady(self, now: float) -> bool:
        """Whether a process that had died has now lived long enough; forgets the deaths where it has."""
        if not self.in_a_row or not self.lived(now):
            return False
        self.in_a_row = 0
        return True
