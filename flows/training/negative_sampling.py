"""Fewer negatives: each head learns from all of its positives and an even share of its negatives, and is then set right.

With a share w of a head's negatives the network learns q / (1 - q) = odds / w, whatever the features are: the logit's shift
log(w) undoes it exactly (He et al. 2014, "Practical lessons from predicting clicks on ads at Facebook", section 6.3). One
draw a row serves all heads, so that a row on which nothing was done and which is not drawn is not read at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class KeptNegativesError(ValueError):
    """The share of negatives to keep is none."""


@dataclass(frozen=True)
class SampledNegatives:
    """Which of n rows are read at all, and which heads learn from each.

    `rows` ascending int64 (k,); `used` bool (k, heads).
    """

    rows: np.ndarray
    used: np.ndarray
    share: float

    @property
    def logit_shift(self) -> float:
        """What is added to a logit learned from these rows to make it that of all rows."""
        return float(np.log(self.share))


def sample_negatives(labels: np.ndarray, share: float, seed: int) -> SampledNegatives:
    """Keep about `share` of each head's negatives; `labels` 0/1 (n, heads). The same rows for the same seed.

    Raises KeptNegativesError where `share` is outside (0, 1].
    """
    check_share(share)
    drawn = np.ones(len(labels), bool) if share == 1 else np.random.default_rng(seed).random(len(labels)) < share
    used = (labels > 0) | drawn[:, None]
    rows = np.flatnonzero(used.any(axis=1))
    return SampledNegatives(rows, used[rows], share)


def check_share(share: float) -> float:
    """`share`, where it is in (0, 1]. Raises KeptNegativesError."""
    if not 0 < share <= 1:
        raise KeptNegativesError(f"the share of negatives to keep is {share}; it lies in (0, 1], and 1 keeps all of them")
    return share


def among_kept(probability: np.ndarray, share: float) -> np.ndarray:
    """The probability of an action among the rows kept, given that among all rows."""
    return probability / (probability + share * (1 - probability))
