"""A file of logged exposures as events: KuaiRand's columns, or those of the contract. For judging models on days to come."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.contracts import EVENTS, Action, split_events
from feature_repo.datasets.adapter import MalformedFile
from feature_repo.datasets.checked_files import RawColumn, cast_columns, read_raw
from feature_repo.datasets.kuairand.exposures import exposure_events
from feature_repo.datasets.kuairand.raw_columns import LOG

NEEDED = ("user_id", "video_id", "time_ms", "is_click", "long_view", "tab")  # of KuaiRand's columns; the others may be left out
PREFIX = "asked"  # of the request ids
STRANGER = 2_000_000_000_000  # plus the post: the author of a post that no table lists


def read_exposure_file(file: Path, posts: pl.DataFrame) -> pl.DataFrame:
    """Events of the file's exposures, with the columns of the contract, in the order of the file.

    `posts` (post_id, author_id) gives the authors; a post that is not among them gets one of its own. Repeated rows stay apart.
    Raises MalformedFile naming the file, and the column and row where there is one.
    """
    names = parquet_columns(file)
    if "video_id" in names:
        return _kuairand(file, names, posts)
    if {"event_id", "action"} <= set(names):
        return _contract(file, names)
    raise MalformedFile(
        file,
        f"holds neither KuaiRand's columns ({', '.join(NEEDED)}) nor the contract's (event_id, action, ...): found {names}",
    )


def parquet_columns(file: Path) -> list[str]:
    """Names of the file's columns; raises MalformedFile where it is absent or no Parquet file."""
    if not file.is_file():
        raise MalformedFile(file, "there is no such file")
    try:
        return list(pq.read_schema(file).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise MalformedFile(file, f"not a readable Parquet file ({error})") from error


def _kuairand(file: Path, names: list[str], posts: pl.DataFrame) -> pl.DataFrame:
    present = [column for column in LOG if column.name in names or column.name in NEEDED]
    log = read_raw(file, present)
    absent = [pl.lit(0, column.dtype).alias(column.name) for column in LOG if column not in present]
    log = log.with_columns(absent)
    if log.is_empty():
        raise MalformedFile(file, "the file has no rows")
    authors = posts.select(video_id="post_id", author_id="author_id")
    events = exposure_events(log, authors, PREFIX, pool=max(1, authors.height))
    return events.with_columns(pl.col("author_id").fill_null(pl.col("post_id") + STRANGER))


def _contract(file: Path, names: list[str]) -> pl.DataFrame:
    schema = pl.from_arrow(EVENTS.empty_table()).schema
    optional = {field.name for field in EVENTS if field.nullable}
    for name in schema.names():
        if name not in names and name not in optional:
            raise MalformedFile(file, f"the column is missing; found {names}", column=name)
    columns = [RawColumn(name, dtype, required=name not in optional) for name, dtype in schema.items() if name in names]
    read = cast_columns(file, pl.read_parquet(file, columns=[column.name for column in columns]), columns)
    split = split_events(
        read.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in names).select(
            schema.names()
        )
    )
    if split.dead.height:
        reasons = split.dead["reason"].unique().sort().to_list()[:3]
        raise MalformedFile(file, f"{split.dead.height} events break the contract: {'; '.join(reasons)}")
    if not (split.good["action"] == Action.IMPRESSION.value).any():
        raise MalformedFile(file, "the file has no impression: there is nothing to rank")
    return split.good
