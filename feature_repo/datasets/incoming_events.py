"""Events on their way into the lake, parted by local day without holding them all.

Batches are held up to a bound of memory, then sorted by day and written to a run on disk: one Arrow file with a record batch
for each day. The rows of a day are then read out of all runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa

from feature_repo.contracts import EVENTS
from infra.full_disk import told_when_full

HELD_BYTES = 96 << 20  # of events before they go to disk; sorting and writing them takes about three times as much
PIECE_ROWS = 250_000  # a day is read out in pieces of about this many rows

_DAY = "_day"


@dataclass(frozen=True)
class _DiskRun:
    file: Path
    batch_of_day: dict[date, int]

    def table(self, day: date) -> pa.Table:
        with pa.memory_map(str(self.file)) as source:
            return pa.Table.from_batches([pa.ipc.open_file(source).get_batch(self.batch_of_day[day])])


@dataclass(frozen=True)
class _MemoryRun:
    sorted_rows: pl.DataFrame
    slice_of_day: dict[date, tuple[int, int]]

    def table(self, day: date) -> pa.Table:
        return self.sorted_rows.slice(*self.slice_of_day[day]).to_arrow().cast(EVENTS)


class IncomingEvents:
    """Rows of the events contract, by local day. `folder` is this object's own, and must be empty or absent."""

    def __init__(self, folder: Path, day_offset: timedelta, held_bytes: int = HELD_BYTES) -> None:
        self.folder, self.day_offset, self.held_bytes = folder, day_offset, held_bytes
        self.rows = 0
        self._held: list[pl.DataFrame] = []
        self._size = 0
        self._runs: list[_DiskRun | _MemoryRun] = []
        self._days: dict[date, list[_DiskRun | _MemoryRun]] = {}

    def add(self, events: pl.DataFrame) -> None:
        """Take events in; older ones may go to disk."""
        if events.is_empty():
            return
        self._held.append(events)
        self.rows += events.height
        self._size += events.estimated_size()
        if self._size > self.held_bytes:
            self._file_run(to_disk=True)

    def days(self) -> list[date]:
        """Local days that hold events, in order. Nothing may be added afterwards."""
        self._file_run(to_disk=False)
        return sorted(self._days)

    def day(self, day: date) -> Iterator[pl.DataFrame]:
        """The rows of `day` in pieces, in the order in which they came."""
        return (pl.from_arrow(piece) for piece in self.day_tables(day))

    def day_tables(self, day: date) -> Iterator[pa.Table]:
        """As `day`, of the contract's own schema: what goes on as it is need not become a frame."""
        gathered: list[pa.Table] = []
        for run in self._days[day]:
            gathered.append(run.table(day))
            if sum(piece.num_rows for piece in gathered) >= PIECE_ROWS:
                yield pa.concat_tables(gathered)
                gathered = []
        if gathered:
            yield pa.concat_tables(gathered)

    def _file_run(self, *, to_disk: bool) -> None:
        if not self._held:
            return
        local = pl.col("occurred_at").dt.replace_time_zone(None) + self.day_offset
        rows = pl.concat(self._held).with_columns(local.dt.date().alias(_DAY))
        self._held, self._size = [], 0
        if not rows[_DAY].is_sorted():
            rows = rows.sort(_DAY, maintain_order=True)
        lengths = rows[_DAY].rle().struct.unnest()
        starts = (lengths["len"].cum_sum() - lengths["len"]).to_list()
        slices = {day: (start, length) for day, start, length in zip(lengths["value"], starts, lengths["len"], strict=True)}
        memory = _MemoryRun(rows.drop(_DAY), slices)
        run = self._written(memory) if to_disk else memory
        self._runs.append(run)
        for day in slices:
            self._days.setdefault(day, []).append(run)

    def _written(self, run: _MemoryRun) -> _DiskRun:
        file = self.folder / f"run-{len(self._runs)}.arrow"
        self.folder.mkdir(parents=True, exist_ok=True)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with told_when_full(file), pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, EVENTS, options=options) as writer:
            for day in run.slice_of_day:
                (batch,) = run.table(day).combine_chunks().to_batches()
                writer.write_batch(batch)
        return _DiskRun(file, {day: number for number, day in enumerate(run.slice_of_day)})
