"""Apply messages exactly once: lake parts, cells, histories, event ids and offsets are saved together or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl

from feature_repo.aggregates.event_messages import Decoded, decode
from feature_repo.aggregates.late_posts import note_unplaced
from feature_repo.aggregates.stream_events import StreamEvents
from feature_repo.aggregates.stream_parts import part_name
from feature_repo.aggregates.stream_state import Captured, Position, StreamState
from feature_repo.aggregates.topics import Topics
from feature_repo.event_times import AHEAD_S
from feature_repo.lake import Lake

AHEAD_US = AHEAD_S * 1_000_000
LATE_US = 24 * 3_600 * 1_000_000  # an event may come this much after newer ones: for as long its id is remembered
IDS_KEPT = 20_000_000  # ids that are remembered whatever their age; beyond it, those of events older than LATE_US may go

_SEEN_LETTER = {"partition": pl.Int32, "offset": pl.Int64, "message": pl.String, "reason": pl.String}


@dataclass(frozen=True)
class Records:
    """Consecutive records of one partition."""

    partition: int
    offsets: Sequence[int]
    values: Sequence[bytes]
    stamps_ms: Sequence[int]  # the broker's times

    @cached_property
    def decoded(self) -> Decoded:
        """The events in the values; decoding needs nothing of the state, so that another thread may do it ahead."""
        return decode(self.values)

    @property
    def bytes(self) -> int:
        """Length of all values together."""
        return sum(map(len, self.values))

    @staticmethod
    def joined(records: Sequence[Records]) -> list[Records]:
        """Records of each partition as one, partitions ascending; those of a partition must come in their order."""
        grouped: dict[int, list[Records]] = defaultdict(list)
        for one in records:
            grouped[one.partition].append(one)
        names = ("offsets", "values", "stamps_ms")
        return [
            Records(partition, *([item for one in parts for item in getattr(one, name)] for name in names))
            for partition, parts in sorted(grouped.items())
        ]


@dataclass(frozen=True)
class Applied:
    """What some messages held."""

    good: int = 0
    repeated: int = 0
    dead: int = 0


@dataclass
class _Unsaved:
    """What was applied of one partition since the last save."""

    first: int
    last: int
    events: list[pl.DataFrame] = field(default_factory=list)
    dead: list[pl.DataFrame] = field(default_factory=list)


@dataclass(frozen=True)
class PendingSave:
    """A save that only has to be written. For any thread, one at a time; records may be applied meanwhile."""

    lake: Lake
    parts: list[tuple[str, _Unsaved]]  # name of the lake parts, what they hold
    state: StreamState
    captured: Captured

    def write(self) -> None:
        """Write the lake parts, then the state. A kill in between leaves parts that no offset reaches: the next start drops
        them (`stream_parts.drop_uncommitted_parts`) and reads the same records again."""
        for part, owed in self.parts:
            if owed.events:
                self.lake.write_events(pl.concat(owed.events), part)
            if owed.dead:
                self.lake.dead_letters(pl.concat(owed.dead), part)
        self.state.write(self.captured)


class Applier:
    """Applies records to the state, and keeps what the lake is owed until the next save."""

    def __init__(self, state: StreamState, lake: Lake, ids_kept: int = IDS_KEPT) -> None:
        self._state = state
        self._lake = lake
        self._ids_kept = ids_kept
        self._unsaved: dict[int, _Unsaved] = {}

    @property
    def owes(self) -> bool:
        """Whether anything was applied since the last save."""
        return bool(self._unsaved)

    def apply(self, records: Records, topics: Topics) -> Applied:
        """Apply records that follow the last applied ones of their partition."""
        decoded = records.decoded
        events, late = self._in_time(decoded.events, records)
        dead = pl.concat([decoded.dead, late])
        columns = StreamEvents.of(events, topics.of(events["post_id"].to_numpy()))
        fresh = self._state.ids.add(columns.event_hash, columns.at_us)
        if not fresh.all():
            events, columns = events.filter(pl.Series(fresh)), columns.take(fresh)
        if len(columns):
            self._state.engine.fold(columns)
            self._state.histories.fold(columns)
            note_unplaced(self._state, columns, topics)
        self._remember(records, events, dead, columns.at_us)
        return Applied(events.height, len(fresh) - events.height, dead.height)

    def _in_time(self, events: pl.DataFrame, records: Records) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Events that can be applied, and dead letters: those from the future, those too old to tell from repeated ones."""
        at_us = events["occurred_at"].dt.epoch("us").to_numpy()
        message = events["message"].to_numpy()
        latest = np.array(records.stamps_ms, np.int64)[message] * 1_000 + AHEAD_US
        forgotten = self._state.number("forgotten_before_us") or 0
        ahead, old = at_us > latest, at_us < forgotten
        if not (ahead | old).any():
            return events, _letters([], records)
        refused = [
            (place, _why(at, limit, forgotten))
            for place, at, limit in zip(message[ahead | old], at_us[ahead | old], latest[ahead | old], strict=True)
        ]
        return events.filter(pl.Series(~(ahead | old))), _letters(refused, records)

    def _remember(self, records: Records, events: pl.DataFrame, dead: pl.DataFrame, at_us: np.ndarray) -> None:
        state, partition = self._state, records.partition
        held = state.positions.get(partition, Position(0))
        newest = max(held.newest_us, int(at_us.max())) if len(at_us) else held.newest_us
        state.positions[partition] = replace(held, following=records.offsets[-1] + 1, newest_us=newest)
        if len(at_us):
            state.set_number("newest_event_us", max(newest, state.number("newest_event_us") or 0))
            state.set_number("applied", (state.number("applied") or 0) + len(at_us))
        owed = self._unsaved.setdefault(partition, _Unsaved(records.offsets[0], 0))
        owed.last = records.offsets[-1]
        if events.height:
            owed.events.append(events.drop("message"))
        if dead.height:
            offsets = np.asarray(records.offsets)[dead["message"].to_numpy()]
            owed.dead.append(
                dead.select(
                    partition=pl.lit(partition, pl.Int32),
                    offset=pl.Series(offsets, dtype=pl.Int64),
                    message="text",
                    reason="reason",
                )
            )

    def save(self) -> None:
        """Save all that was applied."""
        self.capture().write()

    def capture(self) -> PendingSave:
        """Take together what a save is to hold as of now. It must be written, before anything else is captured."""
        parts = [
            (part_name(partition, owed.first, owed.last, self._state.positions[partition].generation), owed)
            for partition, owed in sorted(self._unsaved.items())
        ]
        self._unsaved = {}
        self._forget_old_ids()
        return PendingSave(self._lake, parts, self._state, self._state.capture())

    def _forget_old_ids(self) -> None:
        if len(self._state.ids) <= self._ids_kept:
            return
        before = min(position.newest_us for position in self._state.positions.values()) - LATE_US
        if before > (self._state.number("forgotten_before_us") or 0) and self._state.forget_ids_before(before):
            self._state.set_number("forgotten_before_us", before)


def _why(at_us: int, latest_us: int, forgotten_us: int) -> str:
    if at_us > latest_us:
        ahead_s = (at_us - latest_us + AHEAD_US) / 1e6
        allowed = f"{AHEAD_US / 1e6:.0f} s are allowed: set the sender's clock"
        return f"occurred_at is {ahead_s:,.0f} s ahead of the broker's clock, {allowed}"
    return (
        f"occurred_at is {(forgotten_us - at_us) / 1e6:,.0f} s before the oldest moment whose event ids are remembered: "
        "it cannot be told from a repeated event"
    )


def _letters(refused: Sequence[tuple[int, str]], records: Records) -> pl.DataFrame:
    rows = [(int(place), records.values[place].decode(errors="replace"), reason) for place, reason in refused]
    return pl.DataFrame(rows, schema={"message": pl.Int64, "text": pl.String, "reason": pl.String}, orient="row")
