"""Always-valid bounds: golden values from the papers' formulas, and coverage at all times at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chisquare, norm

from monitoring.canary.intervals import one_sided_width, ratio_mismatch_p, two_scale_width


def test_the_width_is_the_papers_formula():
    # Waudby-Smith et al. (2021), one-sided asymptotic confidence sequence, worked by hand for t = 100, sigma = 2, rho = 0.3,
    # alpha = 0.05: 2 sqrt(2 (100 * 0.09 + 1) / (100^2 * 0.09) log(1 + sqrt(10) / 0.1)); the prior's scale is sigma * rho.
    by_hand = 2 * math.sqrt(20 / 900 * math.log1p(math.sqrt(10) / 0.1))
    assert by_hand == pytest.approx(0.5566, abs=1e-4)
    assert one_sided_width(4 / 100, 0.05, 0.6) == pytest.approx(by_hand)


def test_the_bound_is_where_the_mixture_martingale_reaches_one_over_alpha_or_beyond():
    """For v = 1 / variance and s = v * difference, the half-normal mixture of exp(l s - l^2 v / 2) over l > 0."""
    for alpha in (0.05, 0.0017, 0.0001):
        for variance in np.geomspace(1e-6, 1e2, 25):
            v, s = 1 / variance, float(one_sided_width(variance, alpha, 1.0)) / variance
            log_mixture = math.log(2 / math.sqrt(1 + v)) + s**2 / (2 * (v + 1)) + norm.logcdf(s / math.sqrt(v + 1))
            assert -math.log(alpha) <= log_mixture <= -math.log(alpha) + 0.2, (alpha, variance)


def test_the_width_is_narrowest_where_the_standard_error_is_a_quarter_of_the_prior():
    relative = {error: float(one_sided_width(error**2, 0.0017, 1.0)) / error for error in (1.0, 0.25, 0.01)}
    assert relative[0.25] < relative[0.01] < relative[1.0]
    assert 2.9 < relative[0.25] < 4.0  # a bound for one time has 2.93: the price of looking at any time


@pytest.mark.filterwarnings("error")
def test_a_width_without_a_variance_is_infinite_and_of_a_certainty_zero():
    assert one_sided_width(np.array([np.nan, np.inf, 0.0]), 0.05, 1.0).tolist() == [np.inf, np.inf, 0.0]


def test_bounds_hold_at_all_times_at_once():
    rng = np.random.default_rng(5)
    runs, steps, alpha = 400, 1_500, 0.1
    # Heavy-tailed users in both arms; the judge looks at the difference of the arms.
    draws = rng.lognormal(0, 1, (runs, steps)) - rng.lognormal(0, 1, (runs, steps))
    n = np.arange(1, steps + 1)
    mean = draws.cumsum(axis=1) / n
    variance = ((draws**2).cumsum(axis=1) / n - mean**2) / n
    looked = slice(49, None)  # from 50 on, where the judge begins
    missed = (mean > one_sided_width(variance, alpha, 0.8))[:, looked].any(axis=1).mean()
    missed_by_fixed = (mean > 1.2816 * np.sqrt(variance))[:, looked].any(axis=1).mean()
    assert missed <= alpha
    assert missed_by_fixed > 2 * alpha  # why a fixed-time interval will not do


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
    looks = np.arange(50, 2_001, 50)
    for _ in range(200):
        treated = np.cumsum(rng.random(2_000) < 0.25)[looks - 1]
        alarms["ours"] += bool((ratio_mismatch_p(looks - treated, treated, 0.25) < 0.05).any())
        # With one degree of freedom: (t - k / 4)^2 over its variance k * 3 / 16, against the 95 % point 3.84.
        alarms["chi-square"] += bool(((treated - looks / 4) ** 2 / (looks * 3 / 16) > 3.841).any())
    assert alarms["ours"] <= 0.05 * 200
    assert alarms["chi-square"] > 2 * 0.05 * 200


def test_two_scales_cost_small_harms_little_and_see_large_ones_soon():
    prior, alpha = 0.02, 0.0025
    for error, most in ((0.005, 1.04), (0.002, 1.04)):
        fine, both = (float(width(error**2, alpha, prior)) for width in (one_sided_width, two_scale_width))
        assert fine <= both <= most * fine
    assert float(two_scale_width(0.13**2, alpha, prior)) < 0.35 * float(one_sided_width(0.13**2, alpha, prior))
