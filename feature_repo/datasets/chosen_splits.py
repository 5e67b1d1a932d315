"""Splits that fit the data: chosen by how many events lie before each block of time, not by the calendar.

Blocks are whole local days where at least five of them are busy, else hours, else minutes. A few rows far away in time
choose nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from feature_repo.datasets.event_counts import DAY, HOUR, MINUTE, EventCounts
from feature_repo.datasets.splits import Splits

TRAIN_SHARE = 0.7  # of the events; what is left is halved between replay and canary
BUSY_BLOCKS = 5  # blocks of one size that make it the size to split by
BUSY_SHARE = 0.1  # of the mean count of blocks with events: a block with less is not busy
NEAR_ENOUGH = 0.2  # a training share this far from the one asked for is taken without looking at finer blocks

STRAY_SHARE = 0.01  # at most this share of the events may be strays at either end
STRAY_ROWS = 3  # few events may still have this many strays, if that is at most a tenth of them
STRAY_GAP = timedelta(days=7)  # strays lie at least this far from the others, and a quarter of what the others span
FEW_EVENTS = 100  # a part with fewer is named in the notes


class NoDatedEvents(ValueError):
    """There is no event with a time of its own, so nothing can be split."""


@dataclass(frozen=True)
class _Blocks:
    """Blocks of `unit` that hold events, strays left out: their numbers since 1970 in local time, and their counts."""

    unit: timedelta
    number: np.ndarray
    count: np.ndarray

    @property
    def busy(self) -> int:
        return int((self.count >= BUSY_SHARE * self.count.mean()).sum())

    def start(self, index: int, day_offset: timedelta) -> datetime:
        """First moment of block `index`; of the one that follows the last block where `index` is their number."""
        number = int(self.number[index]) if index < len(self.number) else int(self.number[-1]) + 1
        return datetime(1970, 1, 1, tzinfo=UTC) + number * self.unit - day_offset


def choose_splits(times: EventCounts, train_share: float = TRAIN_SHARE) -> Splits:
    """Splits with about `train_share` of the dated events before `train_end`, and half of the rest in either other part.

    A part for which no block is left is empty and named in the notes. Raises NoDatedEvents.
    """
    number, count = times.by(times.unit)
    if len(number) == 0:
        raise NoDatedEvents("no event has a time of its own, so there is nothing to train on")
    first, last = _strays(number * times.unit.total_seconds(), count)
    blocks, cuts = _chosen_blocks(times, number[first], number[last - 1], train_share)
    offset = times.day_offset
    train_end, replay_end, end = (blocks.start(cut, offset) for cut in (*cuts, len(blocks.count)))
    parts = [int(blocks.count[a:b].sum()) for a, b in ((0, cuts[0]), (cuts[0], cuts[1]), (cuts[1], len(blocks.count)))]
    notes = [*_part_notes(parts, blocks.unit), *_stray_notes(count, first, last)]
    return Splits(train_end, (train_end, replay_end), (replay_end, end), tuple(notes))


def _strays(at_s: np.ndarray, count: np.ndarray) -> tuple[int, int]:
    """First and one after the last block that are not strays. at_s: seconds, ascending."""
    total = int(count.sum())
    allowed = max(math.floor(STRAY_SHARE * total), min(STRAY_ROWS, total // 10))
    cumulative = np.cumsum(count)
    low = int(np.searchsorted(cumulative, allowed, side="right"))
    high = int(np.searchsorted(cumulative, total - allowed, side="left"))
    gap = max(STRAY_GAP.total_seconds(), (at_s[high] - at_s[low]) / 4)
    wide = np.diff(at_s) > gap
    before = np.flatnonzero(wide[:low])
    after = np.flatnonzero(wide[high:])
    return int(before[-1]) + 1 if len(before) else 0, high + int(after[0]) + 1 if len(after) else len(count)


def _chosen_blocks(times: EventCounts, first: int, last: int, train_share: float) -> tuple[_Blocks, tuple[int, int]]:
    """The coarsest blocks that are many and split near the share asked for, else those that come nearest to it."""
    found = []
    for unit in (DAY, HOUR, MINUTE):
        if unit < times.unit:
            continue
        number, count = times.by(unit)
        ratio = unit // times.unit
        inside = (number >= first // ratio) & (number <= last // ratio)
        blocks = _Blocks(unit, number[inside], count[inside])
        cuts = _cuts(blocks.count, train_share)
        off = abs(blocks.count[: cuts[0]].sum() / blocks.count.sum() - train_share)
        if blocks.busy >= BUSY_BLOCKS and off <= NEAR_ENOUGH:
            return blocks, cuts
        too_few = len(blocks.count) < 3
        found.append((too_few, off, -len(found) if too_few else len(found), blocks, cuts))
    _, _, _, blocks, cuts = min(found, key=lambda one: one[:3])
    return blocks, cuts


def _cuts(count: np.ndarray, train_share: float) -> tuple[int, int]:
    """Number of blocks before replay, and before the canary; each part has a block as long as there are blocks."""
    if len(count) < 3:
        return 1, len(count)
    reached = np.cumsum(count) / count.sum()
    train = int(np.abs(reached[:-2] - train_share).argmin()) + 1
    replay = int(np.abs(reached[train:-1] - (1 + train_share) / 2).argmin()) + train + 1
    return train, replay


def _part_notes(parts: list[int], unit: timedelta) -> list[str]:
    size = {DAY: "day", HOUR: "hour", MINUTE: "minute"}[unit]
    notes = []
    for name, rows in zip(("training", "replay", "canary"), parts, strict=True):
        if rows == 0:
            notes.append(f"the {name} part is empty: the events lie in too few {size}s to leave one for it")
        elif rows < FEW_EVENTS:
            notes.append(f"the {name} part holds only {rows} event{'s' if rows > 1 else ''}, too few to conclude much from")
    return notes


def _stray_notes(count: np.ndarray, first: int, last: int) -> list[str]:
    early, late = int(count[:first].sum()), int(count[last:].sum())
    notes = []
    if early:
        notes.append(f"{early} events lie long before all others; they are trained on and chose no split")
    if late:
        notes.append(f"{late} events lie long after all others; they chose no split and are in no part")
    return notes
