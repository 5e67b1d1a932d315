"""How long work took, by the wall clock and by the processor: on a busy machine the two differ, and the second tells more."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Lap:
    """Seconds that passed, and seconds of processor time that this process, with all its threads, used."""

    wall_s: float
    cpu_s: float


class Stopwatch:
    """Laps from one call of `lap` to the next; the first begins when the watch is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> Lap:
        """The time since the last lap ended."""
        wall, cpu = time.perf_counter(), time.process_time()
        done = Lap(wall - self._wall, cpu - self._cpu)
        self._wall, self._cpu = wall, cpu
        return done


def pace(items: int, laps: list[Lap], threads: int) -> dict[str, float]:
    """`events_per_s` and what one core would do, `events_per_core_s`: medians over laps of about `items / len(laps)` items."""
    each = items / len(laps)
    return {
        "events_per_s": round(each / median(lap.wall_s for lap in laps)),
        "events_per_core_s": round(each / median(lap.cpu_s for lap in laps)),
        "rounds": len(laps),
        "threads": threads,
    }
