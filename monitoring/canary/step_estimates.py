"""How much the canary's users differ from the live release's in one step, and what each user does to that number.

An estimate is linear in the users to first order: its influence on a user is `slopes[arm]` times the user's columns
(Deng, Knoblich, Lu, "Applying the delta method in metric analytics", 2018). Users are the clusters: all of a user's visits
enter as one number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from monitoring.canary.moments import BEFORE, CANARY, CONTROL, StepMoments, X, Y

Kind = Literal["amount", "count", "share"]


@dataclass(frozen=True)
class StepEstimate:
    """One step's estimate; arrays (...,) over looks unless said. Where `weight` is 0 the other values mean nothing."""

    control: np.ndarray
    treatment: np.ndarray
    difference: np.ndarray  # in the metric's scale; of a quantile, the logarithm of the ratio
    slopes: np.ndarray  # (..., 2, 4): influence of a user of each arm by column (one, x, y, before)
    floor: np.ndarray  # variance beyond that of the influences: what too few users have not shown yet
    weight: np.ndarray  # users' information, n m / (n + m)
    users: np.ndarray  # (..., 2)


@dataclass(frozen=True)
class ArmRatios:
    """Sum of y over sum of x in each arm, adjusted by the covariate; arrays (..., 2)."""

    ratio: np.ndarray
    variance: np.ndarray  # of the ratio, clustered by user
    floor: np.ndarray  # the least variance that is believed
    slopes: np.ndarray  # (..., 2, 4), influence of a user on their own arm's ratio
    usable: np.ndarray  # (...,)


def arm_ratios(moments: StepMoments, kind: Kind) -> ArmRatios:
    """Ratios of sums with variances by user.

    Two floors keep a small arm from looking sure. Its users vary at least as those of the larger arm do: a few dozen users
    of a heavy-tailed metric mostly miss the tail, and then look both worse and certain. And of counts, one event more is
    always thinkable.
    """
    users, x, y = moments.users, moments.total(X), moments.total(Y)
    usable = (x > 0).all(axis=-1) & (users > 0).all(axis=-1)
    n, x1 = np.maximum(users, 1), np.where(x > 0, x, 1.0)
    theta = _covariate_slope(moments)[..., None]
    before = moments.total(BEFORE)
    centre = before.sum(axis=-1, keepdims=True) / np.maximum(users.sum(axis=-1, keepdims=True), 1)
    raw = y / x1
    ratio = raw - theta * (before / n - centre)
    slopes = np.stack([theta * before / n, -raw, np.ones_like(raw), np.broadcast_to(-theta, raw.shape)], axis=-1)
    slopes = slopes / x1[..., None]
    variance = np.maximum(_quadratic(slopes, moments.arms[..., :4, :4]), 0.0)
    floor = variance * n / np.maximum(n - 1, 1)
    others = (floor * n)[..., ::-1] / n
    floor = np.where(users < users[..., ::-1], np.maximum(floor, others), floor)
    if kind == "share":
        share = (y + 1) / (x + 2)
        floor = np.maximum(floor, share * (1 - np.minimum(share, 1)) / x1)
    elif kind == "count":
        floor = np.maximum(floor, (y + 1) / x1**2)
    return ArmRatios(ratio, variance, floor, slopes, usable)


def ratio_step(moments: StepMoments, kind: Kind, relative: bool) -> StepEstimate:
    """The difference of the arms' ratios, in units of the control's where `relative`."""
    arms = arm_ratios(moments, kind)
    control, treatment = arms.ratio[..., CONTROL], arms.ratio[..., CANARY]
    usable = arms.usable
    if relative:
        # Of counts the control has at least one, so that nothing is divided by zero and no event is no absence of data.
        least = 1 / np.maximum(moments.total(X)[..., CONTROL], 1e-300) if kind == "count" else 0.0
        level = np.maximum(control, least)
        usable = usable & (level > 0)
        level = np.where(usable, level, 1.0)
        difference = (treatment - control) / level
        gains = np.stack([-(1 + difference) / level, 1 / level], axis=-1)
    else:
        difference = treatment - control
        gains = np.stack([-np.ones_like(control), np.ones_like(control)], axis=-1)
    return step_estimate(moments, arms, (control, treatment, difference), gains, usable)


def step_estimate(
    moments: StepMoments,
    arms: ArmRatios,
    values: tuple[np.ndarray, np.ndarray, np.ndarray],
    gains: np.ndarray,
    usable: np.ndarray,
) -> StepEstimate:
    """An estimate that changes by `gains` (..., 2) per unit of each arm's ratio. values: control, treatment, difference."""
    users = moments.users
    weight = users.prod(axis=-1) / np.maximum(users.sum(axis=-1), 1)
    gains = np.where(usable[..., None], gains, 0.0)
    return StepEstimate(
        control=values[0],
        treatment=values[1],
        difference=np.where(usable, values[2], 0.0),
        slopes=arms.slopes * gains[..., None],
        floor=(gains**2 * (arms.floor - arms.variance)).sum(axis=-1),
        weight=np.where(usable, weight, 0.0),
        users=users,
    )


def _covariate_slope(moments: StepMoments) -> np.ndarray:
    """Regression of y on the covariate within arms, pooled over the arms (CUPED: Deng, Xu, Kohavi, Walker, 2013)."""
    n, before = np.maximum(moments.users, 1), moments.total(BEFORE)
    cross = (moments.arms[..., Y, BEFORE] - moments.total(Y) * before / n).sum(axis=-1)
    spread = (moments.arms[..., BEFORE, BEFORE] - before**2 / n).sum(axis=-1)
    enough = spread > 1e-9 * moments.arms[..., BEFORE, BEFORE].sum(axis=-1)
    return np.where(enough, cross / np.where(enough, spread, 1.0), 0.0)


def _quadratic(slopes: np.ndarray, products: np.ndarray) -> np.ndarray:
    return np.einsum("...i,...ij,...j->...", slopes, products, slopes)
