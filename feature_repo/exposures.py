"""Exposures: every impression with what its user did to it, as sorted columns that histories and labels are read from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_repo.contracts import HISTORY_BEFORE, Action
from feature_repo.feature_rows import HEADS
from feature_repo.products import product_bucket

UNDATED = "undated"
_EQUALS = "event_hash"  # decides between exposures of the same moment and place, as in the stream engine


@dataclass(frozen=True)
class ExposureLog:
    """m exposures sorted by (user, time, order within the moment). Undated exposures carry an upper bound as their time."""

    user_id: np.ndarray  # int64
    post_id: np.ndarray  # int64
    author_id: np.ndarray  # int64
    topic: np.ndarray  # int32, -1 = none
    product: np.ndarray  # int16 bucket
    at_us: np.ndarray  # int64
    dated: np.ndarray  # bool
    actions: np.ndarray  # uint8, bits in the order of HEADS: everything that ever followed
    # int64 (late, len(HEADS)): when each action came, for the exposures whose actions came after the exposure's own moment.
    action_at: np.ndarray
    late_row: np.ndarray  # int32 (m,): row in action_at, -1 = all actions came with the exposure

    def __len__(self) -> int:
        return len(self.user_id)

    def labels(self, index: np.ndarray) -> np.ndarray:
        """What followed the exposures at `index` (n,), uint8 (n, len(HEADS))."""
        return np.unpackbits(self.actions[index, None], axis=1, bitorder="little")[:, : len(HEADS)]


def exposure_log(events: pl.DataFrame) -> ExposureLog:
    """All exposures of `events` (columns of `event_log.read_events`), see `exposure_frame`."""
    return _columns(exposure_frame(events))


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


def _columns(rows: pl.DataFrame) -> ExposureLog:
    never = np.iinfo(np.int64).max
    at_us = rows["at"].to_numpy()
    times = rows.select([pl.col(f"at_{head}").fill_null(never) for head in HEADS]).to_numpy().reshape(len(rows), len(HEADS))
    followed = times != never
    late = (followed & (times > at_us[:, None])).any(axis=1)
    late_row = np.full(len(rows), -1, np.int32)
    late_row[late] = np.arange(late.sum(), dtype=np.int32)
    names = rows["product"].unique().to_list()
    buckets = rows["product"].replace_strict(names, [product_bucket(name) for name in names], return_dtype=pl.Int16)
    return ExposureLog(
        user_id=rows["user_id"].to_numpy(),
        post_id=rows["post_id"].to_numpy(),
        author_id=rows["author_id"].to_numpy(),
        topic=rows["topic"].to_numpy(),
        product=buckets.to_numpy(),
        at_us=at_us,
        dated=~rows[UNDATED].to_numpy(),
        actions=np.packbits(followed, axis=1, bitorder="little")[:, 0] if len(rows) else np.zeros(0, np.uint8),
        action_at=np.where(followed[late], times[late], never),
        late_row=late_row,
    )
