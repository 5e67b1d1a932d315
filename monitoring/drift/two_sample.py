"""Two-sample statistics of one column: quantile-binned PSI, Kolmogorov-Smirnov, chi-square, and false-discovery control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

BINS = 10  # quantile bins of the reference; the usual PSI thresholds (0.1, 0.2) are for about ten bins
CATEGORICAL_VALUES = 12  # a column with at most this many distinct reference values is compared by value


@dataclass(frozen=True)
class Comparison:
    """How one column differs between two samples. `p` is for the whole column: values and missing values together."""

    kind: str  # "numeric", "categorical" or "empty"
    statistic: float  # KS distance or chi-square
    p: float
    psi: float
    shift_sigmas: float  # difference of means in reference standard deviations; NaN for a constant reference
    missing_reference: float  # share of nulls and non-finite values
    missing_current: float


def compare(
    reference: np.ndarray, current: np.ndarray, *, independent_reference: float = np.inf, independent_current: float = np.inf
) -> Comparison:
    """Compare two float samples of one column, shape (n,) and (m,); NaN and infinities count as missing.

    `independent_*` cap the sample sizes behind the p-values: rows of one user are alike, so 20,000 rows of 5,000 users carry
    the certainty of about 5,000.
    """
    values_r, values_c = np.sort(reference[np.isfinite(reference)]), np.sort(current[np.isfinite(current)])
    missing_r, missing_c = 1 - len(values_r) / len(reference), 1 - len(values_c) / len(current)
    n, m = min(len(reference), independent_reference), min(len(current), independent_current)
    p_missing = proportions_p(missing_r, n, missing_c, m)
    if not len(values_r) or not len(values_c):
        psi = psi_of_shares(np.array([1 - missing_r, missing_r]), np.array([1 - missing_c, missing_c]), n, m)
        return Comparison("empty", 0.0, p_missing, psi, np.nan, missing_r, missing_c)
    edges, categorical = bin_edges(values_r)
    counts_r, counts_c = _counts(values_r, edges, categorical), _counts(values_c, edges, categorical)
    shares_r = np.append(counts_r / len(reference), missing_r)
    shares_c = np.append(counts_c / len(current), missing_c)
    if categorical:
        statistic, p = chi_square(counts_r * (n / len(reference)), counts_c * (m / len(current)))
    else:
        statistic = ks_distance(values_r, values_c)
        p = ks_p(statistic, n * (1 - missing_r), m * (1 - missing_c))
    return Comparison(
        kind="categorical" if categorical else "numeric",
        statistic=statistic,
        p=min(1.0, 2 * min(p, p_missing)),  # two tests of one column: Bonferroni
        psi=psi_of_shares(shares_r, shares_c, len(reference), len(current)),
        shift_sigmas=shift_in_sigmas(values_r, values_c),
        missing_reference=missing_r,
        missing_current=missing_c,
    )


def bin_edges(reference: np.ndarray) -> tuple[np.ndarray, bool]:
    """Upper bin edges from the quantiles of the ascending `reference`, or its distinct values when they are few (then True).

    A value that holds much of the mass (zeros of a count) becomes a bin of its own, since equal quantiles merge: equal-width
    bins would put nearly all of a long tail into the first bin and see nothing.
    """
    new = np.flatnonzero(np.diff(reference)) + 1
    if len(new) < CATEGORICAL_VALUES:
        return reference[np.append(0, new)], True
    places = np.ceil(np.arange(1, BINS) * len(reference) / BINS).astype(int) - 1
    return np.unique(reference[places]), False


def _counts(values: np.ndarray, edges: np.ndarray, categorical: bool) -> np.ndarray:
    """Ascending values per bin (previous edge, edge]; the last bin holds those above all edges (or of no known category)."""
    upto = np.searchsorted(values, edges, side="right")
    if categorical:
        known = upto - np.searchsorted(values, edges, side="left")
        return np.append(known, len(values) - known.sum()).astype(float)
    return np.diff(np.concatenate([[0], upto, [len(values)]])).astype(float)


def psi_of_shares(reference: np.ndarray, current: np.ndarray, n: float, m: float) -> float:
    """Population stability index of two share vectors, sum((c - r) ln(c / r)), with half an observation added to each bin."""
    used = (reference > 0) | (current > 0)
    k = used.sum()
    r = (reference[used] * n + 0.5) / (n + 0.5 * k)
    c = (current[used] * m + 0.5) / (m + 0.5 * k)
    return float(np.sum((c - r) * np.log(c / r)))


def ks_distance(reference: np.ndarray, current: np.ndarray) -> float:
    """Largest distance of the empirical distribution functions of two ascending samples, ties included."""
    both = np.concatenate([reference, current])
    share_r = np.searchsorted(reference, both, side="right") / len(reference)
    distance = share_r - np.searchsorted(current, both, side="right") / len(current)
    return float(np.abs(distance).max())


def ks_p(distance: float, n: float, m: float) -> float:
    """Asymptotic p-value of the two-sample KS distance with Stephens' small-sample correction; conservative under ties."""
    if n < 1 or m < 1:
        return 1.0
    root = np.sqrt(n * m / (n + m))
    return float(special.kolmogorov((root + 0.12 + 0.11 / root) * distance))


def chi_square(reference: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    """Chi-square of two count vectors, (statistic, p). Bins expecting fewer than 5 are pooled into one."""
    total = reference + current
    share = current.sum() / total.sum()
    rare = np.minimum(total * share, total * (1 - share)) < 5
    r = np.append(reference[~rare], reference[rare].sum())
    c = np.append(current[~rare], current[rare].sum())
    used = (r + c) > 0
    if used.sum() < 2:
        return 0.0, 1.0
    r, c = r[used], c[used]
    expected_c = (r + c) * share
    expected_r = (r + c) * (1 - share)
    statistic = float(np.sum((c - expected_c) ** 2 / expected_c + (r - expected_r) ** 2 / expected_r))
    return statistic, float(stats.chi2.sf(statistic, used.sum() - 1))


def proportions_p(share_r: float, n: float, share_c: float, m: float) -> float:
    """Two-sided p-value that two shares of n and m observations are equal (pooled normal approximation)."""
    pooled = (share_r * n + share_c * m) / (n + m)
    deviation = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return 1.0 if deviation == 0 else float(2 * stats.norm.sf(abs(share_c - share_r) / deviation))


def shift_in_sigmas(reference: np.ndarray, current: np.ndarray) -> float:
    """Difference of means over the reference's standard deviation; for a constant reference 0 if nothing moved, else NaN."""
    spread = reference.std()
    difference = float(current.mean() - reference.mean())
    if spread <= 1e-12 * max(1.0, abs(float(reference.mean()))):
        return 0.0 if np.isclose(difference, 0.0) else float("nan")
    return difference / float(spread)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values (k,): rejecting those at most alpha keeps the false discovery rate at most alpha."""
    p = np.asarray(p, float)
    if not len(p):
        return p
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1.0)
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result
