"""Laws of the aggregates: batch equals stream, order does not matter, and fading survives long gaps."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.aggregates.batch import ERA_HALF_LIVES, write_states
from feature_repo.aggregates.catalogue import STATE_INDEX, WINDOWS, Key
from feature_repo.aggregates.stream import EventBatch, fold
from feature_repo.blocks import States
from feature_repo.contracts import HISTORY_BEFORE
from feature_repo.event_log import read_events
from feature_repo.state_tables import read_state_table
from tests.small_events import small_events, small_lake


def folded(events: pl.DataFrame, key: Key, batch: int) -> tuple[np.ndarray, States]:
    """All `events` through the stream engine in micro-batches of `batch`, in the order given."""
    if key is Key.TOPIC:
        events = events.filter(pl.col("topic") >= 0)
    ids, row = np.unique(events[key.column].to_numpy(), return_inverse=True)
    states = States.empty(len(ids))
    for start in range(0, events.height, batch):
        part = events.slice(start, batch)
        states = fold(
            states,
            row[start : start + batch],
            EventBatch(
                action=np.array(part["action"].to_list(), object),
                amount=part["value"].fill_null(float("nan")).to_numpy(),
                dated=(part["product"] != HISTORY_BEFORE).to_numpy(),
                at_us=part["at"].to_numpy(),
            ),
        )
    return ids, states


@pytest.mark.parametrize("key", list(Key))
def test_the_batch_engine_and_the_stream_engine_end_in_the_same_state(tmp_path, key):
    events = read_events([small_lake(tmp_path / "lake")])
    write_states(events, tmp_path / "states", (key,))
    ids, states = read_state_table(tmp_path / "states" / f"{key.value}.parquet", key).latest()
    streamed_ids, streamed = folded(events.sample(fraction=1.0, shuffle=True, seed=5), key, batch=97)
    assert ids.tolist() == streamed_ids.tolist()
    assert states.updated_at.tolist() == streamed.updated_at.tolist()
    np.testing.assert_allclose(states.state, streamed.state, rtol=2e-6, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(40)), batch=st.integers(1, 40))
def test_the_order_and_the_batching_of_events_do_not_matter(order, batch):
    events = _loose_events()
    ids, expected = folded(events, Key.USER, batch=len(events))
    shuffled_ids, shuffled = folded(events[list(order)], Key.USER, batch)
    assert ids.tolist() == shuffled_ids.tolist()
    np.testing.assert_allclose(shuffled.state, expected.state, rtol=1e-9, atol=1e-12)
    assert shuffled.updated_at.tolist() == expected.updated_at.tolist()


def _loose_events() -> pl.DataFrame:
    events = small_events(exposures=30, seed=3, users=3)
    return events.with_columns(at=pl.col("occurred_at").dt.epoch("us"), topic=pl.lit(0, pl.Int32)).head(40)


def test_fading_sums_stay_exact_across_eras(tmp_path):
    """Events years apart lie in different eras of the running sums; the closed formula must still hold."""
    half_life = WINDOWS[1].half_life_us
    era = ERA_HALF_LIVES * half_life
    times = [7 * era - 3 * half_life, 7 * era - half_life, 7 * era + half_life, 7 * era + 2 * half_life, 9 * era + 5]
    events = pl.DataFrame(
        {
            "event_id": [f"e{number}" for number in range(len(times))],
            "user_id": [1] * len(times),
            "post_id": [1] * len(times),
            "author_id": [1] * len(times),
            "action": ["impression"] * len(times),
            "value": pl.Series([None] * len(times), dtype=pl.Float64),
            "product": ["tab_1"] * len(times),
            "position": pl.Series([None] * len(times), dtype=pl.Int32),
            "request_id": ["r"] * len(times),
            "at": times,
            "topic": pl.Series([0] * len(times), dtype=pl.Int32),
        }
    )
    write_states(events, tmp_path, (Key.USER,))
    table = read_state_table(tmp_path / "user.parquet", Key.USER)
    sums = table.states.state[:, STATE_INDEX["impression.24h"]]
    expected = [sum(2.0 ** (-(now - then) / half_life) for then in times if then <= now) for now in times]
    np.testing.assert_allclose(sums, expected, rtol=1e-6)
