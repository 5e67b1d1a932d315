"""Size and dates of a simulated world, and the changes planted in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

TOPICS = 24
COMMUNITIES = 12


@dataclass(frozen=True)
class TasteShift:
    """From day number `day` on, everyone's taste for `topic` moves by `size` (added to log affinity)."""

    day: int
    topic: int
    size: float


@dataclass(frozen=True)
class WorldConfig:
    """`users` accounts and `posts` posts over `days` UTC days from `start`; everything follows from `seed`."""

    seed: int = 7
    users: int = 3_000
    posts: int = 5_000
    days: int = 11
    start: date = date(2025, 3, 3)
    taste_shifts: tuple[TasteShift, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("users", 20), ("posts", 20), ("days", 1)):
            value = getattr(self, name)
            if not least <= value < 2**32:
                raise ValueError(f"WorldConfig.{name} is {value}; it must be from {least} to 2**32 - 1")
        for shift in self.taste_shifts:
            if not 0 <= shift.topic < TOPICS:
                raise ValueError(f"TasteShift.topic is {shift.topic}; topics are 0 to {TOPICS - 1}")
