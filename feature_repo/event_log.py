"""Events of one or several lakes as one log: each event_id once, with its post's first topic."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from feature_repo.lake import Lake

EPOCH_ROW_KEYS = {"posts": "post_id", "users": "user_id"}


def read_table(lakes: Sequence[Lake], name: str, *, embeddings: bool = False) -> pl.DataFrame:
    """`posts` or `users` of all lakes, one row an id (the last lake wins), sorted by id.

    embeddings: whether posts come with theirs, which take most of the room and few readers need.
    """
    key = EPOCH_ROW_KEYS[name]
    left_out = [] if embeddings or name != "posts" else ["embedding"]
    parts = [lake.read(name).drop(left_out) for lake in lakes]
    return pl.concat(parts).unique(key, keep="last", maintain_order=True).sort(key)


def first_topics(posts: pl.DataFrame) -> pl.DataFrame:
    """post_id with its first topic (int32, -1 = none)."""
    return posts.select("post_id", topic=pl.col("topics").list.first().fill_null(-1).cast(pl.Int32))


def read_events(lakes: Sequence[Lake], until: datetime | None = None, since: datetime | None = None) -> pl.DataFrame:
    """Events from `since` to `until` (both included, None = no bound), each event_id once, as columns
    event_id, user_id, post_id, author_id, topic, action, value, product, position, request_id, at (int64 us), unordered.
    """
    return _columns(lakes, sorted({day for lake in lakes for day in _days(lake, since, until)}), until, since).collect()


def write_events(lakes: Sequence[Lake], folder: Path, until: datetime) -> list[Path]:
    """The events of `read_events(lakes, until)` as one Parquet file a day in `folder`; only a day's are in memory at once."""
    files = []
    for day in sorted({day for lake in lakes for day in _days(lake, None, until)}):
        files.append(folder / f"{day}.parquet")
        _columns(lakes, [day], until, None).collect().write_parquet(files[-1], compression="zstd", compression_level=1)
    return files


def _columns(lakes: Sequence[Lake], days: Sequence[date], until: datetime | None, since: datetime | None) -> pl.LazyFrame:
    """Events of `days` with the columns of `read_events`."""
    topics = first_topics(read_table(lakes, "posts"))
    events = pl.concat([_day_events(lakes, day) for day in days] or [lakes[0].scan_events([])])
    if until is not None:
        events = events.filter(pl.col("occurred_at") <= until)
    if since is not None:
        events = events.filter(pl.col("occurred_at") >= since)
    return log_columns(events, topics)


def log_columns(events: pl.LazyFrame, topics: pl.DataFrame) -> pl.LazyFrame:
    """Contract events as the columns of `read_events`, unordered; `topics` as `first_topics` gives them."""
    columns = ["event_id", "user_id", "post_id", "author_id", "action", "value", "product", "position", "request_id"]
    return (
        events.select(*columns, at=pl.col("occurred_at").dt.epoch("us"))
        .join(topics.lazy(), on="post_id", how="left")
        .with_columns(pl.col("topic").fill_null(-1))
    )


def _day_events(lakes: Sequence[Lake], day: date) -> pl.LazyFrame:
    """Events of one day. An event_id is unique within a part, so only a day of several parts is searched for repeats."""
    parts = [lake.scan_events([day]) for lake in lakes if day in lake.event_days()]
    files = sum(len(list(lake.events_part(day, "any").parent.glob("*.parquet"))) for lake in lakes)
    events = pl.concat(parts)
    return events.unique("event_id", keep="any") if files > 1 else events


def _days(lake: Lake, since: datetime | None, until: datetime | None) -> list[date]:
    """Days of `lake` that can hold events between the two moments."""
    first, last = (
        None if moment is None else (moment.replace(tzinfo=None) + lake.day_offset).date() for moment in (since, until)
    )
    return [day for day in lake.event_days() if (first is None or day >= first) and (last is None or day <= last)]


def end_of_days(days: Sequence[date], day_offset: timedelta) -> datetime:
    """The last microsecond (UTC) of the newest of `days` in the lake's local time."""
    midnight = datetime.combine(max(days) + timedelta(days=1), datetime.min.time(), tzinfo=UTC)
    return midnight - day_offset - timedelta(microseconds=1)
