"""Steps of a rollout pooled into one estimate, with the variance of users who were met in several steps.

A user whom a wider step moves from the live release to the canary enters earlier steps with one sign and later ones with the
other; the variance sums each user's influences over the steps before it squares them, so both kinds of users count right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitoring.canary.moments import CARRIED, StepMoments
from monitoring.canary.step_estimates import StepEstimate


@dataclass(frozen=True)
class Carried:
    """What the steps before leave to the next: numbers, the same at all of its looks."""

    weight: float = 0.0
    weighted: tuple[float, float, float] = (0.0, 0.0, 0.0)  # control, treatment, difference times weight, summed
    square: float = 0.0  # sum over users of their squared carried influence
    floor: float = 0.0  # sum of weight^2 times the steps' variance floors
    users: tuple[float, float] = (0.0, 0.0)  # most users of each arm that one step has met


@dataclass(frozen=True)
class Pooled:
    """One metric over all steps so far; arrays (...,) over looks, NaN where there is no data."""

    control: np.ndarray
    treatment: np.ndarray
    difference: np.ndarray
    variance: np.ndarray
    step_variance: np.ndarray  # of the newest step alone; infinite where it has no data yet
    control_users: np.ndarray
    treatment_users: np.ndarray

    @property
    def has_data(self) -> np.ndarray:
        return np.isfinite(self.difference) & np.isfinite(self.variance)


def pool(step: StepEstimate, moments: StepMoments, carried: Carried) -> Pooled:
    """The newest step's estimate with what the steps before left."""
    weight = carried.weight + step.weight
    has = weight > 0
    total = np.where(has, weight, 1.0)
    values = [
        np.where(has, (kept + step.weight * np.where(step.weight > 0, new, 0.0)) / total, np.nan)
        for kept, new in zip(carried.weighted, (step.control, step.treatment, step.difference), strict=True)
    ]
    own = np.einsum("...ai,...aij,...aj->...", step.slopes, moments.arms[..., :4, :4], step.slopes)
    shared = np.einsum("...ai,...ai->...", step.slopes, moments.arms[..., :4, CARRIED])
    square = carried.square + 2 * step.weight * shared + step.weight**2 * own
    # A user's influences may cancel, yet no more is known than all users' own variances allow: rounding is cut off at zero.
    variance = (np.maximum(square, 0.0) + carried.floor + step.weight**2 * step.floor) / total**2
    users = np.maximum(step.users, carried.users)
    return Pooled(
        *values,
        variance=np.where(has, variance, np.nan),
        step_variance=np.where(step.weight > 0, np.maximum(own, 0.0) + step.floor, np.inf),
        control_users=users[..., 0],
        treatment_users=users[..., 1],
    )


def carry(step: StepEstimate, carried: Carried, square: float) -> Carried:
    """What a finished step (no leading axis) leaves. square: sum over all users of their squared influence with this step."""
    weight = float(step.weight)
    new = (step.control, step.treatment, step.difference) if weight > 0 else (0.0, 0.0, 0.0)
    return Carried(
        carried.weight + weight,
        tuple(kept + weight * float(value) for kept, value in zip(carried.weighted, new, strict=True)),
        square,
        carried.floor + weight**2 * float(step.floor),
        tuple(float(n) for n in np.maximum(step.users, carried.users)),
    )


def influences(step: StepEstimate, columns: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """Weighted influence (n,) of users with `columns` (n, COLUMNS) in arms `arm` (n,) 0 or 1 on a finished step's estimate."""
    return step.weight * np.einsum("ni,ni->n", columns[:, :4], step.slopes[arm])
