"""How fast anybody's own events get into the lake, from Parquet and from CSV; the peer is plain polars scanning the same files.

Each measurement runs in a process of its own, so that neither finds the other's memory.
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal

from flows.steps.progress import announce
from infra.settings import Settings
from tests.bench.stopwatch import Lap, Stopwatch

Format = Literal["parquet", "csv"]

# Disk that the largest part needs at once, bytes an event: its files, the events on their way by day, and the lake.
DISK_BYTES = {"parquet": 160, "csv": 250}
TEXT_IDS_PART = 10  # with text ids a tenth of the events are ingested: their numbers are allotted by a database
_FILE_EVENTS = 1_000_000

COLUMNS = (
    "event_id", "user_id", "post_id", "author_id", "action", "value", "product", "position", "request_id", "occurred_at",
)  # fmt: skip


class NoRoom(RuntimeError):
    """The disk has not the room that the bench needs."""


def bench_ingest(folder: Path, events: int, seed: int = 7, *, text_ids: bool = False) -> dict[str, Any]:
    """Write about `events` simulated events under `folder` in either format, ingest each, and scan the same files by polars.

    Ids are whole numbers; with `text_ids` a tenth as many events are ingested from Parquet once more with ids that are text.
    The files have the contract's columns and no mapping; times are timestamps in Parquet and ISO 8601 in CSV. Writing them is
    not timed, and everything is removed in the end. The peer reads every column, parses what is text as the contract asks, and
    adds up or counts each; it checks nothing, finds no repeats, and writes nothing.

    Keys: events, simulated, threads, and parquet, csv and text_ids, each with events, file_bytes_per_event, rows_per_s (by the
    wall clock), rows_per_cpu_s (seconds of one core: what a busy machine does not blur), peak_memory_gb (the most that the
    process ever held, mapped pages included), and peer (what, and the same). Raises NoRoom before anything is written.
    """
    parts: list[tuple[str, Format, int, bool]] = [("parquet", "parquet", events, False), ("csv", "csv", events, False)]
    if text_ids:
        parts.append(("text_ids", "parquet", max(1_000, events // TEXT_IDS_PART), True))
    require_room(folder, events)
    found: dict[str, Any] = {"events": events, "simulated": True, "threads": Settings().threads}
    for name, kind, rows, texts in parts:
        try:
            found[name] = _part(folder, name, kind, rows, seed, texts)
        finally:
            for one in folder.iterdir():
                shutil.rmtree(one, ignore_errors=True)
    return found


def require_room(folder: Path, events: int) -> None:
    """Raise NoRoom where the disk of `folder` cannot hold the bench of `events` events."""
    needed, free = max(DISK_BYTES.values()) * events, shutil.disk_usage(folder).free
    if needed > free:
        raise NoRoom(
            f"{events:,} events need about {needed / 1e9:.1f} GB of disk and {folder} has {free / 1e9:.1f} GB free; "
            "ask for fewer with --events, or set MIXER_HOME to a folder on a larger disk"
        )


def _part(folder: Path, name: str, kind: Format, events: int, seed: int, texts: bool) -> dict[str, Any]:
    announce(f"{name}: writing {events:,} simulated events")
    data = folder / "data"
    rows, size = _apart(write_files, data / "events", kind, events, seed, texts)
    announce(f"{name}: ingesting {rows:,} events")
    ours = _apart(_ingest, data, folder / "home", rows)
    announce(f"{name}: scanning them by polars")
    peer = _apart(_scan, data / "events", kind, rows, texts)
    what = f"polars scan_{kind} (streaming) over all columns of the same files, times parsed; it checks and writes nothing"
    return {"events": rows, "file_bytes_per_event": round(size / rows), **ours, "peer": {"what": what, **peer}}


def _apart(work: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


# ---- what runs in processes of its own --------------------------------------------------------------------------------
def write_files(folder: Path, kind: Format, events: int, seed: int, texts: bool) -> tuple[int, int]:
    """Write the events as files of at most about a million each; returns how many there are, and their bytes."""
    import polars as pl

    from feature_repo.datasets.world.event_bulk import BulkWorld, bulk_events

    world = BulkWorld(events, seed=seed)
    parts = max(1, round(events / _FILE_EVENTS))
    folder.mkdir(parents=True)
    rows = 0
    for part in range(parts):
        at = pl.col("at").cast(pl.Datetime("us", "UTC")).alias("occurred_at")
        frame = bulk_events(world, part, parts).with_columns(at, _event_ids(part))
        if texts:
            ids = {"user_id": "user-", "post_id": "post-", "author_id": "user-"}
            frame = frame.with_columns(pl.concat_str(pl.lit(prefix), name).alias(name) for name, prefix in ids.items())
        file = folder / f"part-{part:05d}.{kind}"
        if kind == "csv":
            frame.select(COLUMNS).write_csv(file, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
        else:
            frame.select(COLUMNS).write_parquet(file)
        rows += frame.height
    return rows, sum(file.stat().st_size for file in folder.iterdir())


def _event_ids(part: int) -> Any:
    """Twenty digits in no order, no two the same: multiplying by an odd number is one to one."""
    import polars as pl

    number = pl.int_range(1, pl.len() + 1, dtype=pl.UInt64) + (part << 32)
    return (number * pl.lit(0x9E3779B97F4A7C15, pl.UInt64)).cast(pl.String).alias("event_id")


def _ingest(data: Path, home: Path, rows: int) -> dict[str, float]:
    import feature_repo.datasets.own.adapter  # noqa: F401  loaded before the watch starts, as polars is for the peer
    from feature_repo.datasets.adapter import open_adapter
    from feature_repo.datasets.ingest import ingest
    from feature_repo.lake import Lake

    settings = Settings(home=home, data=data, dataset="own")
    home.mkdir(parents=True, exist_ok=True)
    watch = Stopwatch()
    adapter = open_adapter(settings)
    lake, holdout = (Lake(root, adapter.day_offset) for root in (settings.paths.lake, settings.paths.holdout))
    report = ingest(adapter, lake, holdout, hold_out=False)
    lap = watch.lap()
    if report.lake_events != rows:
        raise RuntimeError(f"{rows:,} events were written and {report.lake_events:,} are in the lake")
    return _figures(rows, lap)


def _scan(folder: Path, kind: Format, rows: int, texts: bool) -> dict[str, float]:
    import polars as pl

    watch = Stopwatch()
    if kind == "csv":
        scan = pl.scan_csv(
            folder / "*.csv", schema_overrides={"event_id": pl.String, "value": pl.Float64, "position": pl.Int32}
        )
        scan = scan.with_columns(
            pl.col("occurred_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC")
        )
    else:
        scan = pl.scan_parquet(folder / "*.parquet")
    numbers = ["value", "position", *([] if texts else ["user_id", "post_id", "author_id"])]
    others = [name for name in COLUMNS if name not in (*numbers, "occurred_at")]
    read = scan.select(
        pl.len().alias("rows"),
        pl.col(numbers).sum(),
        pl.col("occurred_at").max(),
        pl.col(others).str.len_bytes().sum(),
    ).collect(engine="streaming")
    lap = watch.lap()
    if read["rows"][0] != rows:
        raise RuntimeError(f"{rows:,} events were written and polars finds {read['rows'][0]:,}")
    return _figures(rows, lap)


def _figures(rows: int, lap: Lap) -> dict[str, float]:
    return {
        "rows_per_s": round(rows / lap.wall_s),
        "rows_per_cpu_s": round(rows / lap.cpu_s),
        "peak_memory_gb": round(_peak_memory_gb(), 2),
    }


def _peak_memory_gb() -> float:
    """The most that this process ever held; it starts no other."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9
    # Not ru_maxrss: of a process that was started from a larger one it keeps that one's.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9
