"""Intervals that stay valid however often one looks: the judge may peek after every visit. Pure functions.

Sources: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences" (2021), for means; Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing"
(2022), for quantiles; Lindon and Malek, "Anytime-valid inference for multinomial count data" (2022), for arm sizes.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaln


def mixture_scale(alpha: float, tuned_for: float) -> float:
    """The rho at which `sequence_width` is narrowest near an effective sample size of `tuned_for`."""
    log_term = -2 * math.log(alpha)
    return math.sqrt((log_term + math.log(log_term + 1)) / tuned_for)


def sequence_width(variance: float, effective_n: float, alpha: float, tuned_for: float) -> float:
    """Half-width of the two-sided (1 - alpha) confidence sequence of an estimate with this sampling `variance`.

    `effective_n` is the sample size n for which variance = sigma^2 / n; between arms of n and m users, nm / (n + m).
    """
    rho2_n = mixture_scale(alpha, tuned_for) ** 2 * effective_n
    return math.sqrt(variance * 2 * (rho2_n + 1) / rho2_n * math.log(math.sqrt(rho2_n + 1) / alpha))


def quantile_interval(sorted_values: np.ndarray, p: float, alpha: float) -> tuple[float, float]:
    """Confidence sequence of the p-quantile of `sorted_values` (n,); an end is infinite while n is too small for it."""
    n = len(sorted_values)
    if n < 3:
        return -math.inf, math.inf
    spread = (1.4 * math.log(math.log(2.1 * n)) + math.log(10 / alpha)) / n
    shift = 1.5 * math.sqrt(p * (1 - p) * spread) + 0.8 * spread
    low = float(sorted_values[max(math.floor(n * (p - shift)) - 1, 0)]) if p - shift > 0 else -math.inf
    high = float(sorted_values[min(math.ceil(n * (p + shift)), n - 1)]) if p + shift < 1 else math.inf
    return low, high


def ratio_mismatch_p(control: int, treatment: int, treatment_share: float, concentration: float = 1_000.0) -> float:
    """Always-valid p-value that users fell into the arms in the expected shares.

    One over the Bayes factor of a Beta prior (centred on the expected share, `concentration` pseudo-users) against
    that share itself; under the null it exceeds 1/alpha, at any time, with probability at most alpha.
    """
    a, b = concentration * treatment_share, concentration * (1 - treatment_share)
    log_mixture = betaln(a + treatment, b + control) - betaln(a, b)
    log_null = treatment * math.log(treatment_share) + control * math.log1p(-treatment_share)
    return float(min(1.0, math.exp(min(0.0, log_null - log_mixture))))
