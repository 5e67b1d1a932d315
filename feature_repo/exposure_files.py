"""The exposure log of more events than fit into memory: some users' at a time, written as columns and mapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl

from feature_repo.attribution import ANSWERING
from feature_repo.column_files import ColumnFiles, mapped
from feature_repo.exposures import ExposureLog, exposure_log
from feature_repo.row_draw import EmptyDraw

EVENTS_AT_ONCE = 500_000  # events of the users that are read together; one user's are never parted

_TOTAL = "unanswered"  # a column of sums over all wanted users, not of rows
# Columns with rows of their own, and the column whose values are places in them; negative where there is none.
_LATE = {("action_at",): "late_row", ("dwell_at", "dwell_so_far"): "late_dwell"}


Wanted = Callable[[np.ndarray], np.ndarray]


def everybody(user_id: np.ndarray) -> np.ndarray:
    """bool (n,): every user is wanted."""
    return np.ones(len(user_id), bool)


def map_exposure_log(files: Sequence[Path], folder: Path, wanted: Wanted = everybody) -> ExposureLog:
    """`exposure_log` of the events in Parquet `files`, its arrays mapped from files in `folder` that this writes.

    wanted: of user ids (int64 (n,)) those whose exposures are asked for, bool (n,). Raises EmptyDraw where that is nobody.
    """
    written, unanswered = dict.fromkeys(_LATE, 0), np.zeros(len(ANSWERING), np.int64)
    with ExitStack() as open_files:
        columns, *late = [open_files.enter_context(ColumnFiles(folder)) for _ in (None, *_LATE)]
        for part in _by_users(files, wanted):
            log = exposure_log(part)
            arrays = {field.name: getattr(log, field.name) for field in fields(ExposureLog)}
            unanswered = unanswered + arrays.pop(_TOTAL)
            for file, (names, places) in zip(late, _LATE.items(), strict=True):
                own = {name: arrays.pop(name) for name in names}
                arrays[places] = np.where(arrays[places] >= 0, arrays[places] + np.int32(written[names]), arrays[places])
                file.append(own)
                written[names] += len(own[names[0]])
            columns.append(arrays)
    rows = {field.name: mapped(folder / f"{field.name}.npy") for field in fields(ExposureLog) if field.name != _TOTAL}
    return ExposureLog(**rows, unanswered=unanswered)


def _by_users(files: Sequence[Path], wanted: Wanted) -> Iterator[pl.DataFrame]:
    """All events of the wanted users, by ranges of users in ascending order; at least one frame, which may be empty."""
    events = pl.scan_parquet(files)
    counts = events.group_by("user_id").len().sort("user_id").collect(engine="streaming")
    kept = wanted(counts["user_id"].to_numpy())
    if len(kept) and not kept.any():
        raise EmptyDraw(f"none of the {len(kept):,} users with events is drawn")
    if not kept.all():
        counts = counts.filter(pl.Series(kept))
        events = events.filter(pl.col("user_id").is_in(counts["user_id"].implode()))
    part = counts["len"].cum_sum() // EVENTS_AT_ONCE
    ranges = counts.group_by(part.alias("part"), maintain_order=True).agg(
        first=pl.col("user_id").min(), last=pl.col("user_id").max()
    )
    for first, last in ranges.select("first", "last").iter_rows() if len(ranges) else [(0, 0)]:
        yield events.filter(pl.col("user_id").is_between(first, last)).collect(engine="streaming")
