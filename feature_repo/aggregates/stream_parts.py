"""The lake parts of the stream worker: named by the records they hold, so that a restart knows which ones count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from feature_repo.aggregates.stream_state import StreamState
from feature_repo.lake import Lake

_NAME = re.compile(r"stream-(?:g(?P<generation>\d+)-)?(?P<partition>\d+)-(?P<first>\d+)-(?P<last>\d+)")


def part_name(partition: int, first: int, last: int, generation: int) -> str:
    """Name of the lake part that holds the records first..last (both included) of a partition."""
    began_anew = f"g{generation}-" if generation else ""
    return f"stream-{began_anew}{partition}-{first}-{last}"


def stream_parts(lake: Lake) -> Iterator[tuple[Path, int, int, int, int]]:
    """(file, partition, generation, first, last) of every event part that a stream worker wrote."""
    for file in sorted(lake.root.glob("events/day=*/stream-*.parquet")):
        match = _NAME.fullmatch(file.stem)
        if match is not None:
            yield file, int(match["partition"]), int(match["generation"] or 0), int(match["first"]), int(match["last"])


def drop_uncommitted_parts(state: StreamState, lake: Lake) -> list[str]:
    """Remove lake parts and dead letters that a killed worker wrote beyond its saved offsets; returns their names."""
    dropped = []
    for file in [*lake.root.glob("events/day=*/stream-*.parquet"), *lake.root.glob("dead_letters/stream-*.parquet")]:
        match = _NAME.fullmatch(file.stem)
        if match is None:
            continue
        position = state.positions.get(int(match["partition"]))
        reached = (0, 0) if position is None else (position.generation, position.following)
        if (int(match["generation"] or 0), int(match["first"])) >= reached:
            file.unlink()
            dropped.append(file.stem)
    return sorted(set(dropped))
