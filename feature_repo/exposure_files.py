"""The exposure log of more events than fit into memory: some users' at a time, written as columns and mapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.column_files import ColumnFiles, mapped
from feature_repo.exposures import ExposureLog, exposure_log

EVENTS_AT_ONCE = 500_000  # events of the users that are read together; one user's are never parted

_LATE = "action_at"  # its rows are those of the late exposures, not of all


def map_exposure_log(files: Sequence[Path], folder: Path) -> ExposureLog:
    """`exposure_log` of the events in Parquet `files`, its arrays mapped from files in `folder` that this writes."""
    late_rows = 0
    with ColumnFiles(folder) as columns, ColumnFiles(folder) as late:
        for part in _by_users(files):
            log = exposure_log(part)
            arrays = {field.name: getattr(log, field.name) for field in fields(ExposureLog)}
            arrays["late_row"] = np.where(log.late_row >= 0, log.late_row + np.int32(late_rows), log.late_row)
            late.append({_LATE: arrays.pop(_LATE)})
            columns.append(arrays)
            late_rows += len(log.action_at)
    return ExposureLog(**{field.name: mapped(folder / f"{field.name}.npy") for field in fields(ExposureLog)})


def _by_users(files: Sequence[Path]) -> Iterator[pl.DataFrame]:
    """All events, by ranges of users in ascending order; at least one frame, which may be empty."""
    events = pl.scan_parquet(files)
    counts = events.group_by("user_id").len().sort("user_id").collect(engine="streaming")
    part = counts["len"].cum_sum() // EVENTS_AT_ONCE
    ranges = counts.group_by(part.alias("part"), maintain_order=True).agg(
        first=pl.col("user_id").min(), last=pl.col("user_id").max()
    )
    for first, last in ranges.select("first", "last").iter_rows() if len(ranges) else [(0, 0)]:
        yield events.filter(pl.col("user_id").is_between(first, last)).collect(engine="streaming")
