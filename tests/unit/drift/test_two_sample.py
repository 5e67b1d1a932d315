"""The two-sample statistics against golden values and SciPy, and on the data that other binnings cannot see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monitoring.drift.two_sample import (
    benjamini_hochberg,
    bin_edges,
    chi_square,
    compare,
    ks_distance,
    ks_p,
    proportions_p,
    psi_of_shares,
    shift_in_sigmas,
)


def test_psi_of_two_known_share_vectors():
    # (0.3 - 0.5) ln(0.3 / 0.5) + (0.7 - 0.5) ln(0.7 / 0.5) = 0.1694596
    assert psi_of_shares(np.array([0.5, 0.5]), np.array([0.3, 0.7]), 1e9, 1e9) == pytest.approx(0.1694596, abs=1e-6)


def test_psi_stays_finite_where_a_bin_is_empty_on_one_side():
    assert 1 < psi_of_shares(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 1000, 1000) < 10


def test_ks_distance_and_p_agree_with_scipy_with_and_without_ties():
    rng = np.random.default_rng(0)
    for a, b in [(rng.normal(size=700), rng.normal(0.1, 1, 900)), (rng.poisson(1, 700) * 1.0, rng.poisson(1.2, 900) * 1.0)]:
        expected = stats.ks_2samp(a, b, method="asymp")
        assert ks_distance(np.sort(a), np.sort(b)) == pytest.approx(expected.statistic, abs=1e-12)
        assert ks_p(expected.statistic, 700, 900) == pytest.approx(expected.pvalue, abs=0.03)


def test_chi_square_agrees_with_scipys_contingency_table():
    a, b = np.array([120.0, 300.0, 80.0]), np.array([180.0, 310.0, 60.0])
    expected = stats.chi2_contingency(np.vstack([a, b]), correction=False)
    statistic, p = chi_square(a, b)
    assert statistic == pytest.approx(expected.statistic)
    assert p == pytest.approx(expected.pvalue)


def test_benjamini_hochberg_agrees_with_scipy_and_keeps_the_order_of_its_input():
    p = np.array([0.04, 0.001, 0.2, 0.03, 0.9])
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))
    assert benjamini_hochberg(np.array([])).size == 0


def test_proportions_p_of_a_known_table():
    # z = 0.05 / sqrt(0.125 * 0.875 * (1/400 + 1/400)) = 2.1381, two-sided p = 0.0325
    assert proportions_p(0.10, 400, 0.15, 400) == pytest.approx(0.0325, abs=1e-4)
    assert proportions_p(0.0, 400, 0.0, 400) == 1.0


def test_a_value_that_holds_most_of_the_mass_is_a_bin_of_its_own():
    counts = np.concatenate([np.zeros(750), np.arange(1, 251)])
    edges, categorical = bin_edges(counts)
    assert not categorical
    assert edges[0] == 0
    assert len(edges) == len(set(edges)) == 3


def test_quantile_bins_see_a_shift_that_equal_width_bins_miss_on_a_long_tail():
    rng = np.random.default_rng(3)
    reference = rng.pareto(1.1, 20_000)
    current = rng.pareto(1.1, 20_000)
    current[current < 1] *= 0.4  # nobody in the tail moved, everyone in the bulk did
    edges = np.histogram_bin_edges(np.concatenate([reference, current]), bins=16)
    shares = [np.histogram(side, edges)[0] / len(side) for side in (reference, current)]
    assert psi_of_shares(*shares, 20_000, 20_000) < 0.01
    assert compare(reference, current).psi > 0.2


def test_a_rise_of_missing_values_alone_is_seen():
    rng = np.random.default_rng(4)
    reference, current = rng.normal(size=5000), rng.normal(size=5000)
    current[:1500] = np.nan
    result = compare(reference, current)
    assert result.missing_current == pytest.approx(0.3)
    assert result.psi > 0.2
    assert result.p < 1e-10


def test_a_column_that_went_all_null_is_the_largest_change_there_is():
    result = compare(np.arange(1000.0), np.full(1000, np.nan))
    assert result.kind == "empty"
    assert result.psi > 3
    assert result.p < 1e-10


def test_few_distinct_values_are_compared_by_value_and_a_new_value_counts():
    reference = np.repeat([0.0, 1.0, 2.0], 500)
    assert compare(reference, reference).psi == pytest.approx(0)
    result = compare(reference, np.repeat([0.0, 1.0, 7.0], 500))
    assert result.kind == "categorical"
    assert result.psi > 2


def test_one_users_rows_count_as_one_when_the_caller_says_so():
    rng = np.random.default_rng(5)
    reference, current = rng.normal(size=4000), rng.normal(0.15, 1, 4000)
    certain = compare(reference, current)
    cautious = compare(reference, current, independent_reference=200, independent_current=200)
    assert certain.p < 1e-4
    assert cautious.p > 0.05
    assert certain.psi == cautious.psi


def test_a_constant_column_that_stays_constant_does_not_move():
    assert shift_in_sigmas(np.ones(10), np.ones(10)) == 0
    assert np.isnan(shift_in_sigmas(np.ones(10), np.full(10, 2.0)))
