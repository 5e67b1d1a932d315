"""Moments fold to the same states however they are cut into batches; runs of undated ones give one state."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from feature_repo.aggregates.moment_folding import Moments, folded
from feature_repo.aggregates.ranking_state import AGED, HOUR_US, NEVER, STATE_INDEX, STATE_WIDTH

SEEN = Moments.of(["impression", "click", "like", "dwell", "own_3"])


def moments_of(rows: list[tuple[int, int, bool, dict[str, float]]]) -> pa.RecordBatch:
    """Rows of (key, at, dated, sums by column)."""
    columns = {"key": [row[0] for row in rows], "at": [row[1] for row in rows], "dated": [row[2] for row in rows]}
    columns |= {name: [float(row[3].get(name, 0.0)) for row in rows] for name in SEEN.columns}
    return pa.RecordBatch.from_pydict(columns)


def states_of(batches: list[pa.RecordBatch]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = list(folded(batches, SEEN))
    return tuple(np.concatenate([part[place] for part in parts]) for place in range(3))


def drawn(rows: int) -> pa.RecordBatch:
    random = np.random.default_rng(3)
    keys = np.sort(random.integers(0, 9, rows))
    at = np.concatenate([np.sort(random.choice(10**12, int((keys == key).sum()), replace=False)) for key in np.unique(keys)])
    dated = random.random(rows) < 0.6
    sums = {name: random.integers(0, 3, rows) * (~dated if name.startswith("prior") else dated) for name in SEEN.columns}
    return moments_of([
        (int(keys[row]), int(at[row]), bool(dated[row]), {name: int(sums[name][row]) for name in sums}) for row in range(rows)
    ])  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 7, 199, 200])
def test_the_batches_do_not_matter(size):
    whole = drawn(200)
    expected = states_of([whole])
    found = states_of([whole.slice(start, size) for start in range(0, 200, size)])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_sum_halves_in_its_half_life_and_the_plain_one_stays():
    day = 24 * HOUR_US
    _, _, states = states_of([moments_of([(1, day, True, {"click": 8}), (1, 2 * day, True, {"impression": 1})])])
    assert states[1, STATE_INDEX["click.24h"]] == pytest.approx(4)
    assert states[1, STATE_INDEX["click.all"]] == 8
    assert states[1, STATE_INDEX["age.click"]] == pytest.approx(day / 1e6)
    assert states[1, STATE_INDEX["age.impression"]] == 0


def test_a_run_of_undated_moments_gives_one_state():
    liked = {"prior_like": 1, "prior_impression": 1}
    rows = [
        (1, 1, False, liked),
        (1, 2, False, liked),
        (1, 3, True, {"impression": 1}),
        (1, 4, False, liked),
        (2, 4, False, liked),
    ]
    ids, at, states = states_of([moments_of(rows)])
    assert list(zip(ids, at, states[:, STATE_INDEX["prior_like"]], strict=True)) == [(1, 2, 2), (1, 3, 2), (1, 4, 3), (2, 4, 1)]


def test_what_no_action_of_the_log_moves_is_as_of_a_key_never_seen():
    _, _, states = states_of([moments_of([(1, 5, True, {"impression": 1, "own_3": 1})])])
    expected = np.zeros(STATE_WIDTH, np.float32)
    expected[[STATE_INDEX[f"age.{action}"] for action in AGED]] = NEVER
    for measure in ("impression", "own_3"):
        expected[[STATE_INDEX[f"{measure}.{window}"] for window in ("all", "24h", "7d")]] = 1
        expected[STATE_INDEX[f"age.{measure}"]] = 0
    np.testing.assert_array_equal(states[0], expected)


def test_no_moments_give_no_states():
    assert list(folded([], SEEN)) == []


def test_what_happened_before_1970_has_an_age_too():
    _, _, states = states_of([moments_of([(1, -5_000_000, True, {"click": 1}), (1, -1_000_000, True, {"impression": 1})])])
    assert states[1, STATE_INDEX["age.click"]] == pytest.approx(4)
