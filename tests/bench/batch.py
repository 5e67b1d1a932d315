"""How long the batch engine takes for the whole catalogue, per million events, and in how much memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

from flows.steps.progress import announce

MILLION = 1_000_000
T = TypeVar("T")


@dataclass(frozen=True)
class FamilyTime:
    """One family: how many cells it has, and what they took."""

    seconds: float
    cells: int


def bench_batch(events: int, folder: Path, memory_gb: float, threads: int = 2) -> dict:
    """Make `events` simulated events under `folder`, compute every family's cells from them, and tell the seconds it took.

    Keys: events, simulated, s_per_million and events_per_s (coding and all families; making the events is not part of it),
    cpu_s_per_million (the same in seconds of one core: what a busy machine does not blur), made_per_s, code_s, families
    (name -> seconds, cells), cells, memory_limit_gb (what DuckDB may take), peak_memory_gb (the most that this process ever
    held). The files are removed in the end; 100M events need about 15 GB of disk in between.
    """
    from feature_repo.aggregates.batch_engine import EngineLimits
    from feature_repo.aggregates.cell_files import code_event_files, write_cells
    from feature_repo.aggregates.families import FAMILIES
    from feature_repo.datasets.world.event_bulk import BulkWorld, write_bulk_events

    world = BulkWorld(events)
    limits = EngineLimits(folder / "scratch", memory_gb, threads)
    try:
        files, made_s = _timed(lambda: write_bulk_events(world, folder / "events", threads=threads))
        rows = _row_count(files)
        announce(f"{rows:,} simulated events in {made_s:.1f} s")
        cpu_began = time.process_time()
        coded, code_s = _timed(lambda: code_event_files(files, folder / "coded", limits))
        times: dict[str, FamilyTime] = {}
        for family in FAMILIES:
            cells, seconds = _timed(lambda f=family: write_cells(coded, f, world.end_us, folder / "cells", limits))
            times[family.name] = FamilyTime(round(seconds, 3), cells)
            announce(f"{family.name}: {cells:,} cells in {seconds:.1f} s")
            rmtree(folder / "cells" / family.name)  # a family's files can be larger than the events
        cpu_s = time.process_time() - cpu_began
    finally:
        for name in ("events", "coded", "cells", "scratch"):
            rmtree(folder / name, ignore_errors=True)
    seconds = code_s + sum(one.seconds for one in times.values())
    return {
        "events": rows,
        "simulated": True,
        "s_per_million": round(seconds / rows * MILLION, 3),
        "cpu_s_per_million": round(cpu_s / rows * MILLION, 3),
        "events_per_s": round(rows / seconds),
        "made_per_s": round(rows / made_s),
        "code_s": round(code_s, 3),
        "families": {name: asdict(one) for name, one in times.items()},
        "cells": sum(one.cells for one in times.values()),
        "memory_limit_gb": memory_gb,
        "peak_memory_gb": round(_peak_memory_gb(), 2),
    }


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def _row_count(files: list[Path]) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in files)


def _peak_memory_gb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9  # kilobytes but on macOS
