"""Always-valid intervals: golden values from the papers' formulas, and coverage at all times at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chisquare

from monitoring.canary.intervals import mixture_scale, quantile_interval, ratio_mismatch_p, sequence_width


def test_the_width_is_the_papers_formula():
    # Waudby-Smith et al. (2021), eq. for asymptotic confidence sequences, worked by hand for
    # t = 100, sigma^2 = 4, rho = 0.3, alpha = 0.05: sqrt(4 * 2 * (100 * 0.09 + 1) / (100^2 * 0.09) * log(sqrt(10) / 0.05)).
    rho = 0.3
    tuned_for = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / rho**2
    assert mixture_scale(0.05, tuned_for) == pytest.approx(rho)
    by_hand = math.sqrt(80 / 900 * math.log(math.sqrt(10) / 0.05))
    assert by_hand == pytest.approx(0.6071, abs=1e-4)
    assert sequence_width(4 / 100, 100, 0.05, tuned_for) == pytest.approx(by_hand)


def test_the_width_is_narrowest_relative_to_the_standard_error_where_it_is_tuned():
    relative = {n: sequence_width(1 / n, n, 0.05, 250) * math.sqrt(n) for n in (10, 250, 10_000)}
    assert relative[250] < relative[10]
    assert relative[250] < relative[10_000]
    assert 1.96 < relative[250] < 3.2  # wider than a fixed-time interval: the price of looking at any time


def test_intervals_hold_at_all_times_at_once():
    rng = np.random.default_rng(5)
    runs, steps, alpha = 400, 1_500, 0.1
    # Heavy-tailed users in both arms; the judge looks at the difference of the arms.
    draws = rng.lognormal(0, 1, (runs, steps)) - rng.lognormal(0, 1, (runs, steps))
    n = np.arange(1, steps + 1)
    mean = draws.cumsum(axis=1) / n
    variance = (draws**2).cumsum(axis=1) / n - mean**2
    unit = np.array([sequence_width(1 / k, k, alpha, 250) for k in n])
    fixed = 1.645 / np.sqrt(n)
    looked = slice(49, None)  # from 50 on, where the judge begins
    missed = (np.abs(mean) > unit * np.sqrt(variance))[:, looked].any(axis=1).mean()
    missed_by_fixed = (np.abs(mean) > fixed * np.sqrt(variance))[:, looked].any(axis=1).mean()
    assert missed <= alpha
    assert missed_by_fixed > 2 * alpha  # why a fixed-time interval will not do


def test_the_quantile_interval_is_the_papers_formula():
    values = np.arange(10_000.0)
    # Howard and Ramdas (2022): l(n) = (1.4 log log(2.1 n) + log(10 / alpha)) / n, f = 1.5 sqrt(p (1 - p) l) + 0.8 l.
    spread = (1.4 * math.log(math.log(21_000)) + math.log(10 / 0.05)) / 10_000
    shift = 1.5 * math.sqrt(0.95 * 0.05 * spread) + 0.8 * spread
    low, high = quantile_interval(values, 0.95, 0.05)
    assert low == pytest.approx(10_000 * (0.95 - shift), abs=2)
    assert high == pytest.approx(10_000 * (0.95 + shift), abs=2)


def test_few_values_say_nothing_about_the_upper_end_of_a_p95():
    low, high = quantile_interval(np.arange(100.0), 0.95, 0.05)
    assert low < 95
    assert high == math.inf


def test_the_ratio_test_is_the_bayes_factor():
    # Beta(5, 5) prior against 1/2, 10 users all on one side: B(15, 5) / B(5, 5) = 15!-type ratio, by hand 0.0068027.
    mixture = math.gamma(15) * math.gamma(5) / math.gamma(20) / (math.gamma(5) ** 2 / math.gamma(10))
    assert ratio_mismatch_p(0, 10, 0.5, concentration=10) == pytest.approx(0.5**10 / mixture)
    assert ratio_mismatch_p(5_000, 5_000, 0.5) == 1.0


def test_the_ratio_test_sees_what_chi_square_sees_and_stays_calm_under_peeking():
    assert chisquare([5_400, 4_600]).pvalue < 1e-6
    assert ratio_mismatch_p(5_400, 4_600, 0.5) < 1e-6
    rng = np.random.default_rng(3)
    alarms = {"ours": 0, "chi-square": 0}
    for _ in range(200):
        treated = np.cumsum(rng.random(2_000) < 0.25)
        looks = [(k, int(treated[k - 1])) for k in range(50, 2_001, 50)]
        alarms["ours"] += any(ratio_mismatch_p(k - t, t, 0.25) < 0.05 for k, t in looks)
        # With one degree of freedom: (t - k / 4)^2 over its variance k * 3 / 16, against the 95 % point 3.84.
        alarms["chi-square"] += any((t - k / 4) ** 2 / (k * 3 / 16) > 3.841 for k, t in looks)
    assert alarms["ours"] <= 0.05 * 200
    assert alarms["chi-square"] > 2 * 0.05 * 200
