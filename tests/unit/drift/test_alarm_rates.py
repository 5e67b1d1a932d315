"""How often the decision cries wolf on seeded nulls, heavy tails included, and how small a change it still sees."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.drift.decision import decide
from monitoring.drift.policy import DriftPolicy
from tests.drift_frames import drift_rows

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
