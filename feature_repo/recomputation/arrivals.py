"""When the events of a key reached the lake: decides which served vectors can be judged.

A stream worker shows what it applied before it saves, and a save writes the events into the lake. So of a vector that was
read at a moment (wall clock) it is certain that it held what had been saved before, and open whether it held what was saved
later: such an event, where the vector is new enough to hold it, is in flight, and proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.aggregates.families import Family
from feature_repo.aggregates.measures import HOUR_US
from feature_repo.aggregates.stream_parts import stream_parts
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.event_log import first_topics, read_table
from feature_repo.lake import Lake
from feature_repo.surfaces import surface_code

CLOCK_MARGIN_US = 50_000  # a file's time is that of the kernel's last tick, and writing takes some itself
ANY_TIME_US = 2**62

_COLUMNS = ["event_id", "user_id", "post_id", "author_id", "action", "value", "product", "position", "request_id"]


@dataclass(frozen=True)
class Asked:
    """n vectors to be judged; all arrays int64 (n,). `b` is 0 in families of one id."""

    a: np.ndarray
    b: np.ndarray
    updated_at_us: np.ndarray  # time of the newest event in the vector
    read_at_us: np.ndarray  # wall clock
    as_of_us: np.ndarray  # the vector may hold events before this moment only
    complete_us: np.ndarray  # wall clock: what was saved until then must be in the vector, if it is before as_of_us


def arrived_events(lake: Lake, materialised_us: int | None) -> pl.DataFrame:
    """All events of the lake in the columns of `event_log.read_events`, each once, with saved_at_us: when (wall clock) the
    stream worker saved it, or, of an ingested one, `materialised_us`, when features were last rebuilt from the lake.

    An event that was ingested since then counts as not arrived yet. Raises FileNotFoundError for a lake without events.
    """
    files = sorted(lake.root.glob("events/day=*/*.parquet"))
    if not files:
        raise FileNotFoundError(f"{lake.root} holds no events; run `mixer run ingest` first")
    streamed = {file for file, *_ in stream_parts(lake)}
    saved_at_us = [_saved_at_us(file, file in streamed, materialised_us) for file in files]
    saved = pl.DataFrame({"file": [str(file) for file in files], "saved_at_us": saved_at_us})
    topics = first_topics(read_table([lake], "posts"))
    events = pl.scan_parquet(files, hive_partitioning=False, include_file_paths="file")
    return (
        events.select(*_COLUMNS, "file", at=pl.col("occurred_at").dt.epoch("us"))
        .join(saved.lazy(), on="file")
        .drop("file")
        .sort("saved_at_us")
        .unique("event_id", keep="first")
        .join(topics.lazy(), on="post_id", how="left")
        .with_columns(pl.col("topic").fill_null(-1))
        .collect()
    )


def _saved_at_us(file: Path, streamed: bool, materialised_us: int | None) -> int:
    written_us = file.stat().st_mtime_ns // 1_000
    if streamed:
        return written_us
    return materialised_us if materialised_us is not None and written_us <= materialised_us else ANY_TIME_US


def keyed_by(events: pl.DataFrame, family: Family) -> pl.DataFrame:
    """`events` with the family's ids as int64 columns a and b, without those that belong to no key of it."""
    names = events["product"].unique().to_list()
    buckets = pl.col("product").replace_strict(names, [surface_code(name) for name in names], return_dtype=pl.Int64)
    ids = {"hour": pl.col("at") // HOUR_US % 24, "product": buckets}
    a, b = (ids.get(name, pl.col(name)) for name in (*family.ids, family.ids[0])[:2])
    keyed = events.filter(pl.col("topic") >= 0) if "topic" in family.ids else events
    if not family.undated:
        keyed = keyed.filter(pl.col("product") != HISTORY_BEFORE)
    return keyed.with_columns(a=a.cast(pl.Int64), b=b.cast(pl.Int64) if len(family.ids) > 1 else pl.lit(0, pl.Int64))


def of_keys(keyed: pl.DataFrame, a: np.ndarray, b: np.ndarray) -> pl.DataFrame:
    """The rows of `keyed` whose key (a, b) is one of those given, int64 (n,) each."""
    return keyed.join(pl.DataFrame({"a": a, "b": b}).unique(), on=["a", "b"], how="semi")


def judge_arrivals(asked: Asked, keyed: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(in flight, behind), bool (n,) each, from events with columns a, b, at and saved_at_us (others do not matter).

    In flight: an event that was saved after the reading is not newer than the vector, so it may or may not be in it.
    Behind: the vector lacks an event that it must hold.
    """
    spans = keyed.group_by("a", "b", "saved_at_us").agg(oldest=pl.col("at").min(), newest=pl.col("at").max())
    questions = pl.DataFrame(vars(asked)).with_row_index("row")
    sure = pl.col("saved_at_us") <= pl.col("complete_us") - CLOCK_MARGIN_US
    late = pl.col("saved_at_us") > pl.col("read_at_us") - CLOCK_MARGIN_US
    lacking = [(pl.col(end) > pl.col("updated_at_us")) & (pl.col(end) < pl.col("as_of_us")) for end in ("oldest", "newest")]
    found = (
        questions.join(spans, on=["a", "b"])
        .group_by("row")
        .agg(
            in_flight=(late & (pl.col("oldest") <= pl.col("updated_at_us"))).any(),
            behind=(sure & (lacking[0] | lacking[1])).any(),
        )
    )
    joined = questions.select("row").join(found, on="row", how="left", maintain_order="left").fill_null(False)
    return joined["in_flight"].to_numpy(), joined["behind"].to_numpy()
