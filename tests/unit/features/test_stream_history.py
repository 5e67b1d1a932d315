"""The worker's histories equal the batch engine's, in whatever order the events arrive."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.aggregates.stream_history import StreamHistory
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.exposures import exposure_log
from feature_repo.feature_rows import HEADS, HISTORY_LENGTH
from feature_repo.history import newest_exposures, stored_histories
from feature_repo.products import product_bucket
from tests.small_events import small_events

EVENTS = small_events(exposures=90, seed=8, users=1).with_columns(
    at=pl.col("occurred_at").dt.epoch("us"), topic=pl.lit(2, pl.Int32)
)


def streamed(events: pl.DataFrame) -> StreamHistory:
    history = StreamHistory()
    for row in events.iter_rows(named=True):
        dated = row["product"] != HISTORY_BEFORE
        request = row["request_id"] or ""
        position = -1 if row["position"] is None else row["position"]
        if row["action"] == "impression":
            product = product_bucket(row["product"])
            order = [row["at"], dated, position, row["event_id"], request]
            history.show([*order, row["post_id"], row["author_id"], row["topic"], product, 0])
        elif row["action"] in HEADS:
            history.act(row["post_id"], request, dated, row["at"], row["action"])
    return history


def batched(events: pl.DataFrame) -> list[int]:
    log = exposure_log(events)
    far = np.array([np.iinfo(np.int64).max])
    return stored_histories(log, newest_exposures(log, np.array([0]), far))[0].to_list()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_history_does_not_depend_on_the_order_of_arrival_within_the_kept_length(seed):
    """Few enough events that nothing falls off: then any order, actions before their exposure included, ends the same."""
    few = EVENTS.filter(pl.col("event_id").str.contains(r"^(h0|e[0-2]?\d)-"))
    assert streamed(few.sample(fraction=1.0, shuffle=True, seed=seed)).stored() == batched(few)


def test_in_time_order_a_long_history_keeps_the_newest_exposures_of_the_batch_engine():
    assert EVENTS.filter(pl.col("action") == "impression").height > HISTORY_LENGTH
    ordered = EVENTS.sort("at", pl.col("action") != "impression")
    assert streamed(ordered).stored() == batched(EVENTS)


def test_a_history_survives_its_stored_form():
    history = streamed(EVENTS.sort("at"))
    history.act(999, "unseen", True, 1, "click")
    again = StreamHistory.from_bytes(history.to_bytes())
    assert again == history
    again.show([1, True, -1, "late", "unseen", 999, 1, 1, 1, 0])
    assert not again.waiting
