"""One micro-batch into the state file: new events only, all keys and histories they touch, in the caller's transaction."""

from __future__ import annotations

import numpy as np
import polars as pl

from feature_repo.aggregates.catalogue import Key
from feature_repo.aggregates.stream import EventBatch, fold
from feature_repo.aggregates.stream_history import FIELDS
from feature_repo.aggregates.stream_state import StreamState
from feature_repo.blocks import States
from feature_repo.contracts import HISTORY_BEFORE, Action
from feature_repo.feature_rows import HEADS
from feature_repo.products import product_bucket


def fold_events(state: StreamState, events: pl.DataFrame) -> dict[Key, tuple[np.ndarray, States]]:
    """Fold good, new events (columns of `event_log.read_events`) into states and histories; call inside a transaction.

    Every touched key is marked unwritten. Returns the touched ids and their new states, per key.
    """
    touched = {key: _fold_key(state, events, key) for key in Key}
    _fold_histories(state, events)
    newest = int(events["at"].max())
    state.set_number("newest_event_us", max(newest, state.number("newest_event_us") or 0))
    state.set_number("applied", (state.number("applied") or 0) + events.height)
    return touched


def _fold_key(state: StreamState, events: pl.DataFrame, key: Key) -> tuple[np.ndarray, States]:
    if key is Key.TOPIC:
        events = events.filter(pl.col("topic") >= 0)
    ids, row = np.unique(events[key.column].to_numpy().astype(np.int64), return_inverse=True)
    batch = EventBatch(
        action=np.array(events["action"].to_list(), object),
        amount=events["value"].fill_null(float("nan")).to_numpy().astype(np.float64),
        dated=(events["product"] != HISTORY_BEFORE).to_numpy(),
        at_us=events["at"].to_numpy(),
    )
    folded = fold(state.states(key, ids.tolist()), row, batch)
    state.put_states(key, ids.tolist(), folded)
    state.mark_unwritten(key, ids.tolist())
    return ids, folded


def _fold_histories(state: StreamState, events: pl.DataFrame) -> None:
    """Exposures first, so that an action in the same batch finds the exposure it answers."""
    names = events["product"].unique().to_list()
    buckets = pl.col("product").replace_strict(names, [product_bucket(name) for name in names], return_dtype=pl.Int64)
    relevant = events.filter(pl.col("action").is_in([Action.IMPRESSION.value, *HEADS])).with_columns(
        pl.col("position").fill_null(-1),
        pl.col("request_id").fill_null(""),
        dated=pl.col("product") != HISTORY_BEFORE,
        product=buckets,
        actions=pl.lit(0, pl.Int64),
    )
    histories = state.histories(relevant["user_id"].unique().to_list())
    is_exposure = pl.col("action") == Action.IMPRESSION.value
    for row in relevant.filter(is_exposure).iter_rows(named=True):
        histories[row["user_id"]].show([row[name] for name in FIELDS])
    for row in relevant.filter(~is_exposure).iter_rows(named=True):
        histories[row["user_id"]].act(row["post_id"], row["request_id"], row["dated"], row["at"], row["action"])
    state.put_histories(histories)
