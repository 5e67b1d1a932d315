"""The 95th percentile of answer times: canary over live release, in logarithms, with users as clusters.

The variance of a quantile is that of the share of answers beyond it over the squared density there. Both are read off the
bins. The share's variance is the binomial one times the design effect, measured by user at a fixed time near the live
release's p95: how strongly a user's answers resemble each other hardly changes between neighbouring times, so it may be
measured at one of them while the quantile moves. The density is Woodruff's: the quantiles two standard errors of the
share to both sides, which adapts to the sample (Woodruff 1952; Francisco and Fuller 1991). The log ratio is then normal for
large samples, as any ratio of sums, and the same bound holds at all times.
"""

from __future__ import annotations

import math

import numpy as np

from monitoring.canary.moments import CANARY, CONTROL, StepMoments, X
from monitoring.canary.step_estimates import StepEstimate, arm_ratios, step_estimate
from monitoring.canary.time_bins import RATIO, edges_ms

LATENCY_QUANTILE = 0.95
_WOODRUFF = 2.0  # standard errors to both sides over which the density is averaged
# Below so many answers the upper quantile of Woodruff's two lies beyond the slowest answer, even where all are independent.
LEAST_ANSWERS = math.floor(_WOODRUFF**2 * LATENCY_QUANTILE / (1 - LATENCY_QUANTILE) + 1e-9) + 1
_LOG_EDGES = np.log(edges_ms)


def log_quantile(counts: np.ndarray, p: np.ndarray | float) -> np.ndarray:
    """Logarithm (...,) of the p-quantile of `counts` (..., BINS) in ms, interpolated in a bin; NaN for no counts or p >= 1."""
    cumulated = counts.cumsum(axis=-1)
    total = cumulated[..., -1]
    p = np.broadcast_to(np.asarray(p, np.float64), total.shape)
    known = (total > 0) & (p > 0) & (p < 1)
    wanted = np.where(known, p * total, 0.0)
    place = np.minimum((cumulated < wanted[..., None]).sum(axis=-1), counts.shape[-1] - 1)
    inside = np.take_along_axis(counts, place[..., None], axis=-1)[..., 0]
    below = np.take_along_axis(cumulated, place[..., None], axis=-1)[..., 0] - inside
    part = np.clip((wanted - below) / np.where(inside > 0, inside, 1), 0, 1)
    return np.where(known, _LOG_EDGES[place] + part * math.log(RATIO), np.nan)


def latency_step(moments: StepMoments, counts: np.ndarray) -> StepEstimate:
    """Log ratio of the arms' p95 in one step.

    moments: x = a user's answers, y = those slower than a fixed time near the live release's p95. counts: answers by bin
    (..., 2, BINS). A step in which an arm has too few answers for a p95 has no weight.
    """
    p, slow = LATENCY_QUANTILE, arm_ratios(moments, "share")
    answers = np.maximum(moments.total(X), 1)
    # Where hardly an answer (or nearly every one) is slow the design effect can't be measured; there it is taken at the floor.
    share = np.clip(slow.ratio, 1 / answers, 1 - 1 / answers)
    binomial = np.maximum(share * (1 - share), 1e-12)
    target = p * (1 - p) / binomial  # from the variance at the fixed time to that at the quantile
    error = np.sqrt(np.maximum(slow.floor * target, p * (1 - p) / answers))
    reach = _WOODRUFF * error
    width = (log_quantile(counts, p + reach) - log_quantile(counts, p - reach)) / (2 * reach)
    logs = log_quantile(counts, p)
    usable = slow.usable & np.isfinite(width).all(axis=-1) & np.isfinite(logs).all(axis=-1)
    gains = np.where(usable[..., None], width * np.sqrt(target) * np.array([-1.0, 1.0]), 0.0)
    p95 = np.exp(np.where(np.isfinite(logs), logs, 0.0))
    # The share beyond the quantile varies at least as independent answers would.
    floor = np.maximum(slow.floor, p * (1 - p) / answers / target)
    arms = type(slow)(slow.ratio, slow.variance, floor, slow.slopes, slow.usable)
    difference = np.where(usable, logs[..., CANARY] - logs[..., CONTROL], 0.0)
    return step_estimate(moments, arms, (p95[..., CONTROL], p95[..., CANARY], difference), gains, usable)
