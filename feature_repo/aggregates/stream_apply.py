"""Apply messages exactly once: lake parts, states, seen ids and offsets move together or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_repo.aggregates.catalogue import Key
from feature_repo.aggregates.event_messages import UnreadableEvent, event_frame, read_event
from feature_repo.aggregates.stream_fold import fold_events
from feature_repo.aggregates.stream_seed import STREAM_PART
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.blocks import States
from feature_repo.contracts import split_events
from feature_repo.lake import Lake


@dataclass(frozen=True)
class Message:
    """One record of the topic."""

    partition: int
    offset: int
    value: bytes


@dataclass(frozen=True)
class Applied:
    """What one micro-batch did."""

    good: int
    repeated: int
    dead: int
    touched: dict[Key, tuple[np.ndarray, States]]  # empty when nothing was new


def part_name(partition: int, first: int, last: int, generation: int) -> str:
    """Name of the lake part that holds the messages first..last (both included) of a partition."""
    began_anew = f"g{generation}-" if generation else ""
    return f"stream-{began_anew}{partition}-{first}-{last}"


def apply_messages(state: StreamState, lake: Lake, topics: dict[int, int], messages: Sequence[Message]) -> Applied:
    """Apply one micro-batch; `topics` maps post_id to its first topic.

    The lake parts are written before the transaction commits: a kill in between leaves parts beyond the committed offsets,
    which `drop_uncommitted_parts` removes at the next start before the same messages are read again.
    """
    generations = state.generations()
    with state.transaction():
        frames, good, repeated, dead = [], 0, 0, 0
        for partition in sorted({message.partition for message in messages}):
            own = [message for message in messages if message.partition == partition]
            generation = generations.get(partition, 0)
            part = part_name(partition, own[0].offset, own[-1].offset, generation)
            events, unreadable = _read(own)
            new = events.filter(pl.Series(state.first_seen(events["event_id"].to_list()), dtype=pl.Boolean))
            if new.height:
                lake.write_events(new, part)
                frames.append(new)
            if unreadable.height:
                lake.dead_letters(unreadable, part)
            good, repeated, dead = good + new.height, repeated + events.height - new.height, dead + unreadable.height
            state.set_offset(partition, own[-1].offset + 1, generation)
        touched = fold_events(state, _with_topics(pl.concat(frames), topics)) if frames else {}
    return Applied(good, repeated, dead, touched)


def drop_uncommitted_parts(state: StreamState, lake: Lake) -> list[str]:
    """Remove lake parts and dead letters that a killed worker wrote beyond its committed offsets; returns their names."""
    offsets, generations = state.offsets(), state.generations()
    dropped = []
    for file in [*lake.root.glob("events/day=*/stream-*.parquet"), *lake.root.glob("dead_letters/stream-*.parquet")]:
        match = STREAM_PART.fullmatch(file.stem)
        if match is None:
            continue
        partition = int(match["partition"])
        reached = (generations.get(partition, 0), offsets.get(partition, 0))
        if (int(match["generation"] or 0), int(match["first"])) >= reached:
            file.unlink()
            dropped.append(file.stem)
    return sorted(set(dropped))


def _read(messages: Sequence[Message]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good events, and dead letters with their reason and the text of the message."""
    rows, readable, dead = [], [], []
    for message in messages:
        try:
            rows.append(read_event(message.value))
            readable.append(message)
        except UnreadableEvent as error:
            dead.append((message, str(error)))
    split = split_events(event_frame(rows).with_row_index("message"))
    broken = zip(split.dead["message"].to_list(), split.dead["reason"].to_list(), strict=True)
    dead += [(readable[index], reason) for index, reason in broken]
    letters = pl.DataFrame(
        {
            "partition": [message.partition for message, _ in dead],
            "offset": [message.offset for message, _ in dead],
            "message": [message.value.decode(errors="replace") for message, _ in dead],
            "reason": [reason for _, reason in dead],
        },
        schema={"partition": pl.Int32, "offset": pl.Int64, "message": pl.String, "reason": pl.String},
    )
    return split.good.drop("message"), letters


def _with_topics(events: pl.DataFrame, topics: dict[int, int]) -> pl.DataFrame:
    """The columns of `event_log.read_events`."""
    topic = pl.Series("topic", [topics.get(post_id, -1) for post_id in events["post_id"].to_list()], dtype=pl.Int32)
    return events.with_columns(topic, at=pl.col("occurred_at").dt.epoch("us"))
