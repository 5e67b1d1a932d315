"""Laws of the aggregates: batch equals stream, order does not matter, and fading survives long gaps."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.aggregates.batch import write_states
from feature_repo.aggregates.measures import ERA_HALF_LIVES
from feature_repo.aggregates.ranking_projection import ranking_states
from feature_repo.aggregates.ranking_state import STATE_INDEX, WINDOWS, Key
from feature_repo.blocks import States
from feature_repo.event_log import read_events
from feature_repo.state_tables import read_state_table
from tests.small_events import small_events, small_lake
from tests.streamed import streamed


def ids_of(events: pl.DataFrame, key: Key) -> np.ndarray:
    ids = events[key.column].unique().sort()
    return ids.filter(ids >= 0).to_numpy().astype(np.int64) if key is Key.TOPIC else ids.to_numpy().astype(np.int64)


@pytest.mark.parametrize("key", list(Key))
def test_the_rankers_states_are_the_same_from_the_batch_engine_and_the_stream_engine(tmp_path, key):
    events = read_events([small_lake(tmp_path / "lake")])
    write_states(events, tmp_path / "states", (key,))
    ids, states = read_state_table(tmp_path / "states", key).latest()
    engine = streamed(events.sample(fraction=1.0, shuffle=True, seed=5), batch=97)
    held = ranking_states(engine.tables[key.value], ids)
    assert ids.tolist() == ids_of(events, key).tolist()
    assert states.updated_at.tolist() == held.updated_at.tolist()
    np.testing.assert_allclose(states.state, held.state, rtol=2e-6, atol=1e-6)


def test_a_key_that_was_never_seen_has_the_empty_state():
    held = ranking_states(streamed(_loose_events(), 40).tables["user"], np.array([10**6]))
    assert held.state.tolist() == States.empty(1).state.tolist()
    assert held.updated_at.tolist() == [0]


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(40)), batch=st.integers(1, 40))
def test_the_order_and_the_batching_of_events_do_not_matter(order, batch):
    events = _loose_events()
    expected, shuffled = streamed(events, len(events)), streamed(events[list(order)], batch)
    for family, table in expected.tables.items():
        cells = np.sort(table.cells, order=["a", "b", "measure"])
        others = np.sort(shuffled.tables[family].cells, order=["a", "b", "measure"])
        for name in ("a", "b", "measure", "newest_us", "era", "bucket", "ring", "distinct"):
            np.testing.assert_array_equal(others[name], cells[name], err_msg=f"{family}.{name}")
        for name in ("total", "faded"):
            np.testing.assert_allclose(others[name], cells[name], rtol=1e-12, err_msg=f"{family}.{name}")


def _loose_events() -> pl.DataFrame:
    events = small_events(exposures=30, seed=3, users=3)
    return events.with_columns(at=pl.col("occurred_at").dt.epoch("us"), topic=pl.lit(0, pl.Int32)).head(40)


def test_fading_sums_stay_exact_across_eras(tmp_path):
    """Events years apart lie in different eras of the cells' sums; the closed formula must still hold."""
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
    table = read_state_table(tmp_path, Key.USER)
    sums = table.states.state[:, STATE_INDEX["impression.24h"]]
    expected = [sum(2.0 ** (-(now - then) / half_life) for then in times if then <= now) for now in times]
    np.testing.assert_allclose(sums, expected, rtol=1e-6)
