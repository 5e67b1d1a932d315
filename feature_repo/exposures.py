"""Exposures: every impression with what its user did to it, as sorted columns that histories and labels are read from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_repo.contracts import HISTORY_BEFORE, Action
from feature_repo.dwell import MOST_TENTHS, seconds_of, tenths_of
from feature_repo.heads import HEADS, flags_of, masks_of
from feature_repo.surfaces import surface_code

UNDATED = "undated"
_NEVER = np.iinfo(np.int64).max
_EQUALS = "event_hash"  # decides between exposures of the same moment and place, as in the stream engine


@dataclass(frozen=True)
class ExposureLog:
    """m exposures sorted by (user, time, order within the moment). Undated exposures carry an upper bound as their time."""

    user_id: np.ndarray  # int64
    post_id: np.ndarray  # int64
    author_id: np.ndarray  # int64
    topic: np.ndarray  # int32, -1 = none
    product: np.ndarray  # int32 surface code
    at_us: np.ndarray  # int64
    dated: np.ndarray  # bool
    actions: np.ndarray  # uint64, bits in the order of HEADS: everything that ever followed
    # int64 (late, len(HEADS)): when each action came, for the exposures whose actions came after the exposure's own moment.
    action_at: np.ndarray
    late_row: np.ndarray  # int32 (m,): row in action_at, -1 = all actions came with the exposure
    dwell: np.ndarray  # uint16 tenths of a second: the sum of all dwell that ever followed, capped
    # The dwell events, one by one, of the exposures that were dwelt on after their own moment: those of an exposure together in
    # the order of time, and after them one that never comes, which ends them.
    dwell_at: np.ndarray  # int64 (k,)
    dwell_so_far: np.ndarray  # uint16 (k,): tenths of a second up to and including this event, capped
    late_dwell: np.ndarray  # int32 (m,): place of the first event in dwell_at, -1 = all dwell came with the exposure

    def __len__(self) -> int:
        return len(self.user_id)

    def labels(self, index: np.ndarray) -> np.ndarray:
        """What followed the exposures at `index` (n,), uint8 (n, len(HEADS))."""
        return flags_of(self.actions[index])

    def dwell_s(self, index: np.ndarray) -> np.ndarray:
        """Seconds of dwell that followed the exposures at `index` (n,), float32 (n,)."""
        return seconds_of(self.dwell[index])


def exposure_log(events: pl.DataFrame) -> ExposureLog:
    """All exposures of `events` (columns of `event_log.read_events`), see `exposure_frame`."""
    rows = exposure_frame(events)
    return _columns(rows, _dwell_events(rows, events))


def exposure_frame(events: pl.DataFrame) -> pl.DataFrame:
    """Join every impression with the actions on the same (user, post, request_id) that do not precede it.

    A null request_id matches a null one: repeated exposures of a post to a user can be told apart only where the logger
    gave each its own request_id. Returns the impressions in the order of ExposureLog, `at_<head>` per head: the time of the
    first such action, null where none came.
    """
    from feature_repo.aggregates.stream_events import text_hashes  # the compiled kernel's, which serving does without

    events = events.with_columns(
        pl.col("request_id").fill_null(""),
        (pl.col("product") == HISTORY_BEFORE).alias(UNDATED),
        pl.col("position").fill_null(-1),
    )
    shown = events.filter(pl.col("action") == Action.IMPRESSION.value)
    shown = shown.with_columns(pl.Series(_EQUALS, text_hashes(shown["event_id"])[:, 0]))
    keys = ["user_id", "post_id", "request_id", UNDATED]
    acted = (
        events.filter(pl.col("action").is_in(HEADS))
        .group_by(keys)
        .agg([pl.col("at").filter(pl.col("action") == head).min().alias(f"at_{head}") for head in HEADS])
    )
    order = ["user_id", "at", UNDATED, "position", _EQUALS]
    rows = shown.join(acted, on=keys, how="left").sort(order, descending=[name == UNDATED for name in order])
    answered = [pl.when(pl.col(f"at_{head}") >= pl.col("at")).then(pl.col(f"at_{head}")).alias(f"at_{head}") for head in HEADS]
    return rows.with_columns(answered)


def _dwell_events(rows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The dwell events of the dated exposures `rows`, joined as actions are: (row, at, dwell_at, tenths), by row and time."""
    keys = ["user_id", "post_id", "request_id"]
    watched = events.filter((pl.col("action") == Action.DWELL.value) & (pl.col("product") != HISTORY_BEFORE)).select(
        "user_id",
        "post_id",
        pl.col("request_id").fill_null(""),
        pl.col("at").alias("dwell_at"),
        (pl.col("value").cast(pl.Float64) / 1000.0).alias("seconds"),
    )
    tenths = pl.Series("tenths", tenths_of(watched["seconds"].fill_null(0.0).to_numpy()))
    shown = rows.select(*keys, "at", UNDATED).with_row_index("row").filter(~pl.col(UNDATED))
    joined = shown.join(watched.with_columns(tenths), on=keys).filter(pl.col("dwell_at") >= pl.col("at"))
    return joined.select("row", "at", "dwell_at", pl.col("tenths").cast(pl.Int64)).sort("row", "dwell_at", "tenths")


def _dwell_columns(dwelt: pl.DataFrame, exposures: int) -> dict[str, np.ndarray]:
    """What a log of `exposures` rows holds of dwell."""
    totals = dwelt.group_by("row", maintain_order=True).agg(
        pl.col("tenths").sum().clip(upper_bound=MOST_TENTHS), late=(pl.col("dwell_at") > pl.col("at")).any()
    )
    dwell, first = np.zeros(exposures, np.uint16), np.full(exposures, -1, np.int32)
    dwell[totals["row"].to_numpy()] = totals["tenths"].to_numpy()
    late_rows = totals.filter("late").select("row")
    ends = late_rows.with_columns(dwell_at=pl.lit(_NEVER, pl.Int64), tenths=pl.lit(0, pl.Int64))
    late = pl.concat([dwelt.join(late_rows, on="row", how="semi").select(ends.columns), ends]).sort("row", "dwell_at", "tenths")
    running = late.select(pl.col("tenths").cum_sum().over("row").clip(upper_bound=MOST_TENTHS)).to_series()
    rows, places = np.unique(late["row"].to_numpy(), return_index=True)
    first[rows] = places
    so_far = running.to_numpy().astype(np.uint16)
    return {"dwell": dwell, "dwell_at": late["dwell_at"].to_numpy(), "dwell_so_far": so_far, "late_dwell": first}


def _columns(rows: pl.DataFrame, dwelt: pl.DataFrame) -> ExposureLog:
    at_us = rows["at"].to_numpy()
    times = rows.select([pl.col(f"at_{head}").fill_null(_NEVER) for head in HEADS]).to_numpy().reshape(len(rows), len(HEADS))
    followed = times != _NEVER
    late = (followed & (times > at_us[:, None])).any(axis=1)
    late_row = np.full(len(rows), -1, np.int32)
    late_row[late] = np.arange(late.sum(), dtype=np.int32)
    names = rows["product"].unique().to_list()
    buckets = rows["product"].replace_strict(names, [surface_code(name) for name in names], return_dtype=pl.Int32)
    return ExposureLog(
        user_id=rows["user_id"].to_numpy(),
        post_id=rows["post_id"].to_numpy(),
        author_id=rows["author_id"].to_numpy(),
        topic=rows["topic"].to_numpy(),
        product=buckets.to_numpy(),
        at_us=at_us,
        dated=~rows[UNDATED].to_numpy(),
        actions=masks_of(followed),
        action_at=np.where(followed[late], times[late], _NEVER),
        late_row=late_row,
        **_dwell_columns(dwelt, len(rows)),
    )
