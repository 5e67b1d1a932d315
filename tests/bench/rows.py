"""Training rows of the ingested lake: mapped from disk and encoded by batch, beside all of them in memory.

Each way runs in a process of its own, so that neither finds the other's memory.
"""

from __future__ import annotations

import gc
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.steps.progress import announce
from infra.settings import Settings

BATCH = 128  # rows, as the heavy ranker learns
_SAMPLE_S = 0.01


def bench_rows(settings: Settings, folder: Path, batches: int = 900, threads: int = 1) -> dict[str, Any]:
    """Build the rows of the training days and gather `batches` random batches of them as tensors, both ways.

    Keys: dataset, rows, batch, threads, known_s (until events and states are known), build_rows_per_cpu_s (rows from there on,
    written), batch_rows_per_cpu_s, build_memory_mb and batch_memory_mb (most private memory beyond what the process held
    before; pages of mapped files are not part of it; None where the system does not tell), and peer: the same in memory.
    Seconds are those of one core, which a busy machine does not blur.
    Raises NothingIngested where there is no lake.
    """
    from flows.steps.lakes import dataset_marker

    label = dataset_marker(settings)["label"]
    found = {}
    for name, work in (("mapped", _mapped), ("in memory", _in_memory)):
        announce(f"{label}, {name}")
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            found[name] = process.submit(work, settings, folder, batches, threads).result()
    ours, peer = found["mapped"], found["in memory"]
    if ours.pop("checksum") != peer.pop("checksum"):
        raise RuntimeError("the batches of mapped rows are not those of rows in memory")
    rows = ours.pop("rows")
    del peer["rows"]
    return {"dataset": label, "rows": rows, "batch": BATCH, "threads": threads, **ours, "peer": peer}


def _mapped(settings: Settings, folder: Path, batches: int, threads: int) -> dict[str, Any]:
    from feature_repo.row_shards import open_rows, write_rows
    from feature_repo.training_rows import row_pieces
    from services.ranking.encoded_rows import EncodedRows
    from services.ranking.normalise import Normaliser

    lakes, days, scratch = _asked(settings, folder, threads)
    clock = _Clock()
    with memory_peak() as building:
        written = write_rows(folder / "rows", clock.passed_by(row_pieces(scratch, lakes, days)))
        built_s = clock.since_first()
    rows = open_rows(folder / "rows")
    with memory_peak() as reading:
        encoded = EncodedRows(rows, Normaliser.fit(rows.blocks))
        read = _read(encoded, len(rows), batches)
    return {
        "known_s": clock.first_s,
        "build_rows_per_cpu_s": round(written / built_s),
        **read,
        "build_memory_mb": building.most_mb,
        "batch_memory_mb": reading.most_mb,
        "rows": written,
    }


def _in_memory(settings: Settings, folder: Path, batches: int, threads: int) -> dict[str, Any]:
    from feature_repo.event_log import read_events, read_table
    from feature_repo.training_rows import PointsInTime, impressions_of, known_until
    from services.ranking.inputs import TableBits, row_tensors
    from services.ranking.normalise import Normaliser

    lakes, days, scratch = _asked(settings, folder, threads)
    clock = _Clock()
    with memory_peak() as building:
        events = read_events(lakes, until=known_until(days, lakes[0].day_offset))
        known = PointsInTime.of(scratch, events, read_table(lakes, "users"), read_table(lakes, "posts"))
        del events
        clock.first()
        rows = known.rows(impressions_of(known.log, lakes, days))
        built_s = clock.since_first()
    del known
    with memory_peak() as reading:
        tensors = row_tensors(rows, Normaliser.fit(rows.blocks), TableBits())
        read = _read(tensors, len(rows), batches)
    return {
        "known_s": clock.first_s,
        "build_rows_per_cpu_s": round(len(rows) / built_s),
        **read,
        "build_memory_mb": building.most_mb,
        "batch_memory_mb": reading.most_mb,
        "rows": len(rows),
    }


def _asked(settings: Settings, folder: Path, threads: int) -> tuple[list[Any], list[Any], Settings]:
    """The lakes, the training days, and settings whose files lie in `folder`."""
    import torch

    from flows.steps.lakes import open_lakes, split_days

    torch.set_num_threads(threads)
    lakes = list(open_lakes(settings))
    train_end = split_days(settings)[0]
    days = [day for day in lakes[0].event_days() if day <= train_end]
    return lakes, days, settings.model_copy(update={"home": folder, "threads": threads})


def _read(encoded: Any, rows: int, batches: int) -> dict[str, Any]:
    """Gather random batches, the same for both ways; `checksum` is of what was in them."""
    import torch

    order = torch.randperm(rows, generator=torch.Generator().manual_seed(1)).split(BATCH)[:batches]
    for batch in order[:10]:
        encoded.rows(batch)
    start = time.process_time()
    total = 0.0
    for batch in order:
        total += float(encoded.rows(batch).blocks["context"][0].sum())
    seconds = time.process_time() - start
    return {"batch_rows_per_cpu_s": round(sum(map(len, order)) / seconds), "checksum": total}


class _Clock:
    """Seconds of a core until the first piece, and from there on."""

    def __init__(self) -> None:
        self._start = time.process_time()
        self.first_s = 0.0

    def first(self) -> None:
        self.first_s = round(time.process_time() - self._start, 2)

    def since_first(self) -> float:
        return time.process_time() - self._start - self.first_s

    def passed_by(self, pieces: Iterator[Any]) -> Iterator[Any]:
        for number, piece in enumerate(pieces):
            if number == 0:
                self.first()
            yield piece


class MemoryPeak:
    """The most private memory seen, in MB beyond that at the start; None where the system does not tell."""

    most_mb: float | None = None


@contextmanager
def memory_peak() -> Iterator[MemoryPeak]:
    """Watch this process's private memory while the block runs; garbage of before it is given back first."""
    gc.collect()
    peak, private_mb = MemoryPeak(), _private_memory()
    if private_mb is None:
        yield peak
        return
    begin, done = private_mb(), threading.Event()
    seen = [begin]

    def watch() -> None:
        while not done.wait(_SAMPLE_S):
            seen.append(max(seen[-1], private_mb()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
        peak.most_mb = round(max(seen[-1], private_mb()) - begin, 1)


def _private_memory() -> Callable[[], float] | None:
    """Reads the resident memory that no file stands behind, in MB; None but on Linux."""
    import psutil

    if not sys.platform.startswith("linux"):
        return None
    process = psutil.Process()

    def private_mb() -> float:
        memory = process.memory_info()
        return (memory.rss - memory.shared) / 2**20

    return private_mb
