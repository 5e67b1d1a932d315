"""What an arm's answer to a visit is worth: how well it predicted and ranked the logged outcomes of its own users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_repo.feature_rows import HEADS
from feature_repo.heads import judged_heads
from flows.traffic.visits import Visit

MOST_HEADS = 4  # that an answer is judged by: the common actions, of which visits hold enough
_EPSILON = 1e-6


@dataclass(frozen=True)
class ReferenceRates:
    """Smoothed engagement rate of each post before the replay: the control variate of the judge's log loss.

    It does not depend on the arms, so subtracting its log loss removes the part of the variance that the labels carry.
    """

    heads: tuple[str, ...]  # what answers are judged by: those with enough of either outcome; may be none
    post_id: np.ndarray  # int64 (n,), sorted
    rates: np.ndarray  # float64 (n, len(heads))
    prior: np.ndarray  # float64 (len(heads),)

    def of(self, post_ids: np.ndarray) -> np.ndarray:
        """Rates of `post_ids`, float64 (k, len(heads)); unknown posts get the global rate."""
        if len(self.post_id) == 0:
            return np.broadcast_to(self.prior, (len(post_ids), len(self.prior)))
        row = np.minimum(np.searchsorted(self.post_id, post_ids), len(self.post_id) - 1)
        known = self.post_id[row] == post_ids
        return np.where(known[:, None], self.rates[row], self.prior)


def reference_rates(exposures: pl.DataFrame, strength: float = 20.0, deciding: Sequence[str] = ()) -> ReferenceRates:
    """Rates per post from labelled exposures (columns post_id and HEADS), shrunk to the global rate by `strength` rows.

    The heads are the most common of which the exposures hold enough of either outcome, and those of the `deciding` ones.
    """
    labels = exposures.select(HEADS).to_numpy()
    common = judged_heads(labels, MOST_HEADS)
    heads = tuple(dict.fromkeys([*common, *(judged_heads(labels, chosen=deciding) if deciding else ())]))
    prior = np.array([exposures[head].mean() for head in heads], dtype=np.float64).clip(1e-4, 1 - 1e-4)
    grouped = (
        exposures.group_by("post_id").agg(pl.len().alias("shown"), *[pl.col(head).sum().cast(pl.Float64) for head in heads])
    ).sort("post_id")
    counts = grouped.select(heads).to_numpy().reshape(grouped.height, len(heads))
    rates = (counts + strength * prior) / (grouped["shown"].to_numpy()[:, None] + strength)
    return ReferenceRates(heads, grouped["post_id"].to_numpy(), rates, prior)


def log_losses(visit: Visit, probabilities: np.ndarray, heads: Sequence[str]) -> dict[str, float]:
    """Summed log loss over the visit's posts for each of `heads`; `probabilities` is (n, len(heads))."""
    labels = _labels(visit, heads)
    clipped = np.clip(probabilities, _EPSILON, 1 - _EPSILON)
    losses = -(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)).sum(axis=0)
    return dict(zip(heads, losses.tolist(), strict=True))


def visit_ndcg(visit: Visit, scores: np.ndarray, heads: Sequence[str]) -> float | None:
    """NDCG of the arm's order of the logged posts, gain = number of positive `heads`; None where no order matters."""
    gains = _labels(visit, heads).sum(axis=1)
    if len(gains) < 2 or gains.min() == gains.max():
        return None
    discounts = 1.0 / np.log2(np.arange(2, len(gains) + 2))
    order = np.argsort(-scores, kind="stable")
    return float((gains[order] * discounts).sum() / (np.sort(gains)[::-1] * discounts).sum())


def _labels(visit: Visit, heads: Sequence[str]) -> np.ndarray:
    """float64 (n, len(heads))."""
    return visit.labels[:, [HEADS.index(head) for head in heads]].astype(np.float64)
