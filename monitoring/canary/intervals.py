"""Bounds that stay valid however often one looks: the judge may peek after every visit. Pure functions that broadcast.

Sources: Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences" (2021), for the
one-sided normal mixture; Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic
confidence sequences" (2021), for its use with estimated variances; Lindon and Malek, "Anytime-valid inference for
multinomial count data" (2022), for arm sizes.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaln


def one_sided_width(variance: np.ndarray | float, alpha: float, prior: float) -> np.ndarray:
    """How far below (or above) an estimate its bound lies that holds at all times with chance 1 - alpha.

    variance: of the estimate, any shape. prior: scale of the half-normal mixture in the estimate's unit; the bound is narrowest
    relative to the standard error where that is about a quarter of `prior`. A prior that is too large costs a logarithm, one
    that is too small costs its ratio. With t = 1 / variance this is the one-sided bound of Waudby-Smith et al.,
    sqrt(2 (t r + 1) / (t^2 r) log(1 + sqrt(t r + 1) / (2 alpha))), r = prior^2; infinite where the variance is.
    """
    v = np.asarray(variance, np.float64)
    usable = np.isfinite(v) & (v > 0)
    v1 = np.where(usable, v, 1.0)
    growth = 1 + prior**2 / v1
    width = np.sqrt(2 * v1 * (1 + v1 / prior**2) * np.log1p(np.sqrt(growth) / (2 * alpha)))
    return np.where(usable, width, np.where(v == 0, 0.0, np.inf))


COARSE = 10.0  # priors: a release that is ruined is to be seen by few users, when small harms are still far from it
COARSE_PART = 0.2  # of alpha


def two_scale_width(variance: np.ndarray | float, alpha: float, prior: float) -> np.ndarray:
    """As `one_sided_width`: the narrower of two bounds, of which one is tuned for harms COARSE times as large as the prior's.

    Each has its part of `alpha`, so both hold at all times with chance 1 - alpha. The fine one loses a few per cent by it.
    """
    fine = one_sided_width(variance, alpha * (1 - COARSE_PART), prior)
    return np.minimum(fine, one_sided_width(variance, alpha * COARSE_PART, COARSE * prior))


def ratio_mismatch_p(
    control: np.ndarray | int, treatment: np.ndarray | int, treatment_share: float, concentration: float = 1_000.0
) -> np.ndarray:
    """Always-valid p-value that users fell into the arms in the expected shares.

    One over the Bayes factor of a Beta prior (centred on the expected share, `concentration` pseudo-users) against
    that share itself; under the null it falls below alpha, at any time, with probability at most alpha.
    """
    a, b = concentration * treatment_share, concentration * (1 - treatment_share)
    log_mixture = betaln(a + treatment, b + control) - betaln(a, b)
    log_null = np.asarray(treatment) * np.log(treatment_share) + np.asarray(control) * np.log1p(-treatment_share)
    return np.exp(np.minimum(0.0, log_null - log_mixture))
