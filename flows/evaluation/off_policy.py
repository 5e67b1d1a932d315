"""What a policy would have earned, from what another one logged: importance weighting, its self-normalised form, doubly robust.

Each logged decision has a reward r, the probability p with which the logging policy took its action, and the probability q with
which the policy that is judged would have; w = q / p. Estimators: Horvitz and Thompson 1952 (IPS), Swaminathan and Joachims
2015 (SNIPS), Dudik, Langford and Li 2011 (DR).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOW, HIGH = 0.025, 0.975
THIN = 0.01  # an effective sample of a smaller share of the rows is no evidence
FEW = 100  # effective decisions; with 50 an interval of 95 % held the truth in 83 % of simulated logs, with 250 in 94 %
FEW_USERS = 20
ROUNDING = 1e-6  # of a mean weight


class UnknownPropensity(ValueError):
    """The log does not say with what probability its actions were taken, so nothing follows for another policy."""


@dataclass(frozen=True)
class Logged:
    """n logged decisions; all float64 (n,) but `user_id`, int64 (n,).

    `predicted` and `expected` belong to a reward model: what it predicts for the logged action, and for an action drawn by the
    judged policy. Both 0 where there is no model; DR is IPS then.
    """

    reward: np.ndarray
    propensity: np.ndarray
    policy: np.ndarray
    predicted: np.ndarray
    expected: np.ndarray
    user_id: np.ndarray

    def __post_init__(self) -> None:
        sizes = {name: len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(set(sizes.values())) != 1 or len(self.reward) == 0:
            raise ValueError(f"a log needs as many of everything, and at least one decision, not {sizes}")
        known = np.isfinite(self.propensity)
        if not known.all():
            raise UnknownPropensity(
                f"{np.count_nonzero(~known)} of {len(known)} decisions carry no propensity: keep those whose logger wrote it"
            )
        for name, low in (("propensity", 0.0), ("policy", -1e-12)):
            values = getattr(self, name)
            odd = np.flatnonzero((values <= low) | (values > 1.0 + 1e-12) | ~np.isfinite(values))
            if len(odd):
                raise ValueError(f"{name} of decision {odd[0]} is {values[odd[0]]}: a probability is needed")
        for name in ("reward", "predicted", "expected"):
            odd = np.flatnonzero(~np.isfinite(getattr(self, name)))
            if len(odd):
                raise ValueError(f"{name} of decision {odd[0]} is {getattr(self, name)[odd[0]]}: a finite number is needed")


@dataclass(frozen=True)
class Estimate:
    """A policy's mean reward a decision, with a 95 % interval over resampled users."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PolicyValue:
    """All estimates of one policy, and what they rest on."""

    ips: Estimate
    snips: Estimate
    dr: Estimate
    logging: Estimate  # mean logged reward: what the policy must beat
    gain: Estimate  # `dr` minus `logging`, both on the same resampled users
    decisions: int
    effective_decisions: float  # (sum w)^2 / sum w^2
    mean_weight: float  # 1 but for noise, where the propensities are right
    clipped_share: float  # of the decisions whose weight was cut
    warnings: tuple[str, ...]


def ips(reward: np.ndarray, weight: np.ndarray) -> float:
    """Mean of w r: unbiased, and as noisy as the largest weights."""
    return float(np.mean(weight * reward))


def snips(reward: np.ndarray, weight: np.ndarray) -> float:
    """Sum of w r over sum of w: biased by O(1 / n), never outside the rewards; NaN where no decision has a weight."""
    total = weight.sum()
    return float((weight * reward).sum() / total) if total > 0 else float("nan")


def dr(reward: np.ndarray, weight: np.ndarray, predicted: np.ndarray, expected: np.ndarray) -> float:
    """Mean of the model's expectation plus w times the model's error: right where either weights or model are."""
    return float(np.mean(expected + weight * (reward - predicted)))


def policy_value(log: Logged, *, clip: float = np.inf, draws: int = 500, seed: int = 7) -> PolicyValue:
    """Estimate the judged policy's value; weights above `clip` are cut to it, which trades variance for a bias downwards."""
    if not clip > 0:
        raise ValueError(f"clip is {clip}; weights are cut to a number above 0")
    raw = log.policy / log.propensity
    weight = np.minimum(raw, clip)
    values = {name: [] for name in ("ips", "snips", "dr", "logging", "gain")}
    mean_weights = []
    for times in _resampled(log.user_id, draws, seed):
        total = times.sum()
        drawn = times * weight
        mean_weights.append((times * raw).sum() / total)
        values["ips"].append((drawn * log.reward).sum() / total)
        values["snips"].append((drawn * log.reward).sum() / drawn.sum() if drawn.sum() > 0 else np.nan)
        values["dr"].append(((times * log.expected).sum() + (drawn * (log.reward - log.predicted)).sum()) / total)
        values["logging"].append((times * log.reward).sum() / total)
        values["gain"].append(values["dr"][-1] - values["logging"][-1])
    points = {
        "ips": ips(log.reward, weight),
        "snips": snips(log.reward, weight),
        "dr": dr(log.reward, weight, log.predicted, log.expected),
        "logging": float(log.reward.mean()),
    }
    points["gain"] = points["dr"] - points["logging"]
    effective = float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0
    return PolicyValue(
        **{name: _estimate(point, np.array(values[name])) for name, point in points.items()},
        decisions=len(log.reward),
        effective_decisions=effective,
        mean_weight=float(raw.mean()),
        clipped_share=float((raw > clip).mean()),
        warnings=tuple(_warnings(log, effective, _estimate(float(raw.mean()), np.array(mean_weights)))),
    )


def _warnings(log: Logged, effective: float, mean_weight: Estimate) -> list[str]:
    found = []
    sure = (log.propensity == 1.0).sum()
    if sure == len(log.propensity):
        found.append("every propensity is 1: the logging policy never chose, so the log says nothing about other choices")
    elif sure:
        found.append(f"{sure:,} of {len(log.propensity):,} propensities are 1: there the log says nothing about other choices")
    if effective < THIN * len(log.reward):
        found.append(
            f"the weights leave {effective:,.0f} effective decisions of {len(log.reward):,}: "
            "the policy is too far from the logging one to be judged on this log"
        )
    elif effective < FEW:
        found.append(f"the weights leave {effective:,.0f} effective decisions: below {FEW} the intervals are too narrow")
    if not mean_weight.low - ROUNDING <= 1.0 <= mean_weight.high + ROUNDING:
        found.append(
            f"the mean weight is {mean_weight.value:.3f} [{mean_weight.low:.3f}, {mean_weight.high:.3f}], not 1: "
            + ("the policy chooses what the logging policy did not or hardly tried, or " if mean_weight.value < 1 else "")
            + "the propensities are not those that the logging policy chose by"
        )
    if (users := len(np.unique(log.user_id))) < FEW_USERS:
        found.append(f"{users} users are too few to resample: from fewer than {FEW_USERS} the intervals say little")
    return found


def _resampled(user_id: np.ndarray, draws: int, seed: int):
    """How often each decision was drawn when users are drawn with replacement, float64 (n,), `draws` times."""
    random = np.random.default_rng(seed)
    users, inverse = np.unique(user_id, return_inverse=True)
    for _ in range(draws):
        yield np.bincount(random.integers(0, len(users), len(users)), minlength=len(users)).astype(np.float64)[inverse]


def _estimate(value: float, sample: np.ndarray) -> Estimate:
    defined = sample[~np.isnan(sample)]
    low, high = np.quantile(defined, (LOW, HIGH)) if len(defined) else (np.nan, np.nan)
    return Estimate(value, float(low), float(high))
