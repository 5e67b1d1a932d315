"""Null share, range and drift of the columns of one family. Pure: two matrices in, one table out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitoring.drift.two_sample import psi_of_shares

BINS = 10
DRIFTED = 0.2  # the usual threshold of the population stability index


@dataclass(frozen=True)
class ColumnQuality:
    """What is known of each of k columns; float arrays (k,). Quantiles are of the reference and the window together."""

    null_share: np.ndarray
    least: np.ndarray
    median: np.ndarray
    p99: np.ndarray
    most: np.ndarray
    psi: np.ndarray  # window against reference
    constant: np.ndarray  # bool: no two values of the sample differ


def column_quality(reference: np.ndarray, window: np.ndarray) -> ColumnQuality:
    """Judge the columns of two samples, float32 (n, k) and (m, k). NaN and infinities are nulls."""
    both = np.concatenate([reference, window]).astype(np.float64)
    finite = np.isfinite(both)
    both[~finite] = np.nan
    empty = ~finite.any(axis=0)
    both[:, empty] = 0.0  # quantiles of nothing; the null share says that it is nothing
    # Whole rows are null or not (an impression without a key), so sorting puts them last and quantiles are places.
    ordered = np.sort(both, axis=0)
    count = np.where(empty, len(both), finite.sum(axis=0))

    def quantile(share: float) -> np.ndarray:
        place = np.minimum((share * count).astype(int), count - 1)
        return np.take_along_axis(ordered, place[None], axis=0)[0]

    least, most = quantile(0.0), quantile(1.0)
    return ColumnQuality(
        null_share=1.0 - finite.mean(axis=0),
        least=least,
        median=quantile(0.5),
        p99=quantile(0.99),
        most=most,
        psi=_psi(np.where(finite, both, np.nan)[: len(reference)], both[len(reference) :]),
        constant=least == most,
    )


def _psi(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Quantile-binned population stability index of every column; 0 where a side has no value."""
    psi = np.zeros(reference.shape[1])
    for column in range(reference.shape[1]):
        before = reference[:, column]
        after = window[:, column]
        before, after = np.sort(before[np.isfinite(before)]), np.sort(after[np.isfinite(after)])
        if not len(before) or not len(after) or (before[0] == after[0] == before[-1] == after[-1]):
            continue
        # Upper edges of bins of equal mass: a value that holds much of it becomes a bin of its own.
        places = np.ceil(np.arange(1, BINS) * len(before) / BINS).astype(int) - 1
        edges = np.unique(before[places])
        counts = [
            np.diff(np.concatenate([[0], np.searchsorted(side, edges, "right"), [len(side)]])) for side in (before, after)
        ]
        shares = [count / len(side) for count, side in zip(counts, (before, after), strict=True)]
        psi[column] = psi_of_shares(*shares, len(before), len(after))
    return psi
