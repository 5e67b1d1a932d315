"""How often the decision cries wolf on seeded nulls, heavy tails included, and how small a change it still sees."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from monitoring.drift.decision import decide
from monitoring.drift.policy import DriftPolicy
from tests.drift_frames import drift_rows

pytestmark = pytest.mark.slow

NULLS = 30


@pytest.mark.parametrize("n", [1000, 4000])
def test_no_false_alarm_on_identical_distributions(n):
    decisions = [decide(drift_rows(2 * seed, n), drift_rows(2 * seed + 1, n)) for seed in range(NULLS)]
    assert [decision.verdict for decision in decisions] == ["ok"] * NULLS


def test_significance_alone_keeps_its_promised_false_discovery_rate():
    policy = DriftPolicy(alpha=0.05)
    significant = [
        any(
            column.q <= policy.alpha
            for column in decide(drift_rows(1000 + seed, 2000), drift_rows(2000 + seed, 2000), policy).columns
        )
        for seed in range(60)
    ]
    # Under the null the chance that any column of a family is significant is at most alpha; two families, 60 windows.
    assert np.mean(significant) <= 0.10 + 3 * np.sqrt(0.10 * 0.90 / 60)


def _rows_of_few_users(seed: int) -> pl.DataFrame:
    """4,000 rows of 400 users, a few of them very active, with features that are the same in all of a user's rows."""
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(0, 1, 400)
    user = rng.choice(400, 4000, p=activity / activity.sum())
    features = {f"user.trait_{i}": rng.normal(size=400)[user] for i in range(20)}
    return pl.DataFrame({"user_id": user, **features})


def test_rows_of_few_users_raise_no_alarm_but_would_if_taken_for_independent():
    pairs = [(_rows_of_few_users(2 * seed), _rows_of_few_users(2 * seed + 1)) for seed in range(20)]
    assert [decide(reference, current).verdict for reference, current in pairs] == ["ok"] * len(pairs)
    naive = [decide(reference.drop("user_id"), current.drop("user_id")) for reference, current in pairs]
    assert np.mean([any(column.q <= 0.01 for column in decision.columns) for decision in naive]) > 0.9


@pytest.mark.parametrize("column", ["user.normal_0", "post.pareto_count_0", "author.log_normal_0", "topic.sparse_0"])
def test_a_bulk_that_moves_by_half_its_spread_is_found(column):
    found = []
    for seed in range(10):
        reference, current = drift_rows(50 + seed), drift_rows(90 + seed)
        spread = reference[column].fill_nan(None)
        spread = (spread.quantile(0.9) - spread.quantile(0.1)) / 2.56  # a tail's standard deviation is not its bulk's spread
        moved = current.with_columns(current[column] + 0.7 * spread)
        found.append([c.name for c in decide(reference, moved).columns if c.drifted] == [column])
    assert np.mean(found) >= 0.9


def test_a_rate_that_rises_fivefold_is_found():
    found = []
    for seed in range(10):
        reference, current = drift_rows(150 + seed), drift_rows(190 + seed)
        rng = np.random.default_rng(seed)
        flipped = np.maximum(current["context.binary_0"].to_numpy(), rng.random(current.height) < 0.21)
        drifted = decide(reference, current.with_columns(**{"context.binary_0": flipped})).columns
        found.append("context.binary_0" in [column.name for column in drifted if column.drifted])
    assert np.mean(found) >= 0.9
