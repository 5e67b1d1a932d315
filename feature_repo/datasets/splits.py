"""Which part of a dataset trains the first model, which is replayed as live traffic, and which meets the canary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

MICROSECOND = timedelta(microseconds=1)

# From the first moment of a part to the first moment after it, both UTC; equal where the part is empty.
Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Splits:
    """The three parts as moments (UTC). `notes` says in one sentence each what a part lacks."""

    train_end: datetime  # the first moment that the first model may not learn from
    replay: Span
    canary: Span
    notes: tuple[str, ...] = ()

    @staticmethod
    def of_days(train_end: date, replay: Sequence[date], canary: Sequence[date], day_offset: timedelta) -> Splits:
        """Parts of whole local days: up to and including `train_end`, and two runs of consecutive days after it."""

        def span(days: Sequence[date]) -> Span:
            return local_midnight(days[0], day_offset), local_midnight(days[-1] + timedelta(days=1), day_offset)

        return Splits(local_midnight(train_end + timedelta(days=1), day_offset), span(replay), span(canary))

    @staticmethod
    def from_json(kept: dict[str, Any]) -> Splits:
        """What `as_json` gave."""
        replay, canary = (tuple(map(datetime.fromisoformat, kept[part])) for part in ("replay", "canary"))
        return Splits(datetime.fromisoformat(kept["train_end"]), replay, canary, tuple(kept["notes"]))

    def as_json(self) -> dict[str, Any]:
        """Plain values: moments as ISO 8601 text."""
        return {
            "train_end": self.train_end.isoformat(),
            "replay": [moment.isoformat() for moment in self.replay],
            "canary": [moment.isoformat() for moment in self.canary],
            "notes": list(self.notes),
        }

    def last_training_day(self, day_offset: timedelta) -> date:
        """The local day of the last moment that the first model may learn from."""
        return local_day(self.train_end - MICROSECOND, day_offset)

    def in_words(self, day_offset: timedelta) -> str:
        """The three parts in local time: as days where they begin and end at midnight, else to the minute."""
        moments = {self.train_end, *self.replay, *self.canary}
        whole = all(local_midnight(local_day(moment, day_offset), day_offset) == moment for moment in moments)

        def last(moment: datetime) -> str:
            return f"{local_day(moment - MICROSECOND, day_offset)}" if whole else f"{moment + day_offset:%Y-%m-%d %H:%M}"

        def part(name: str, span: Span) -> str:
            if span[0] >= span[1]:
                return f"{name} nothing"
            start = local_day(span[0], day_offset) if whole else f"{span[0] + day_offset:%Y-%m-%d %H:%M}"
            return f"{name} {start} to {last(span[1])}"

        parts = [f"learned from up to {last(self.train_end)}", part("replayed", self.replay), part("for canaries", self.canary)]
        return ", ".join(parts)

    def part_names(self) -> dict[str, tuple[datetime | None, datetime]]:
        """Every part by name with its span; training has no beginning."""
        return {"train": (None, self.train_end), "replay": self.replay, "canary": self.canary}


def local_midnight(day: date, day_offset: timedelta) -> datetime:
    """The first moment (UTC) of local `day`."""
    return datetime.combine(day, datetime.min.time(), UTC) - day_offset


def local_day(moment: datetime, day_offset: timedelta) -> date:
    """The local day that holds `moment`."""
    return (moment.astimezone(UTC) + day_offset).date()


def overlaps(day: date, span: Span, day_offset: timedelta) -> bool:
    """Whether some of local `day` lies in `span`."""
    start = local_midnight(day, day_offset)
    return max(start, span[0]) < min(start + timedelta(days=1), span[1])
