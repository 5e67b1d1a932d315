"""Named weight presets: how much each predicted action is worth, within declared bounds, and the final score."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import yaml

from feature_repo.heads import HEAD_OF, HEADS, OWN_SLOTS, Role

EPSILON = 0.001  # net-negative posts rank inside [0, EPSILON), below every net-positive one


@dataclass(frozen=True)
class Bounds:
    """Inclusive range that a person or an experiment may move a weight within."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


# A head that stands for displeasure may never be rewarded, and one that stands for pleasure never punished.
_BOUNDS_OF = {
    Role.OPENED: Bounds(0.0, 20.0),
    Role.COMPLETED: Bounds(0.0, 20.0),
    Role.LIKED: Bounds(0.0, 50.0),
    Role.DISLIKED: Bounds(-400.0, 0.0),
}
BOUNDS: dict[str, Bounds] = {name: _BOUNDS_OF[head.role] for name, head in HEAD_OF.items()}


class WeightError(ValueError):
    """A preset or a tuned weight is unknown or out of its bounds."""


@dataclass(frozen=True)
class WeightPreset:
    """Weights by head, in the order of HEADS, with where they come from.

    own: what slots of a dataset's own actions weigh for a release that learned them (see `learned`), where `weights` does not
    name them.
    """

    name: str
    source: str
    weights: dict[str, float]
    own: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.weights) != set(HEADS):
            raise WeightError(f"preset {self.name!r} weighs {sorted(self.weights)}; the heads are {sorted(HEADS)}")
        for head, weight in [*self.weights.items(), *self.own.items()]:
            if weight not in BOUNDS[head]:
                bound = BOUNDS[head]
                raise WeightError(f"{self.name}.{head} = {weight} is outside [{bound.low}, {bound.high}]")

    def vector(self) -> np.ndarray:
        """float64 (len(HEADS),)."""
        return np.array([self.weights[head] for head in HEADS])

    def learned(self, heads: Collection[str]) -> WeightPreset:
        """The preset for a release that learned `heads`: own actions among them weigh by their role.

        Slots that nothing takes stay out of the offset, so a published table gives its published scores.
        """
        return replace(self, weights={**self.weights, **{slot: self.own[slot] for slot in heads if slot in self.own}})

    def weighs_any(self, heads: Collection[str]) -> bool:
        """Whether any of `heads` weighs anything; without one, all candidates score alike."""
        return any(self.weights[head] for head in heads)

    def tuned(self, changes: Mapping[str, float]) -> WeightPreset:
        """A copy with some weights moved within their bounds; WeightError names the head that is unknown or out of them."""
        for head in changes:
            if head not in self.weights:
                raise WeightError(f"there is no head {head!r} to weigh; the heads are {', '.join(HEADS)}")
        return replace(self, name=f"{self.name}+tuned", weights={**self.weights, **changes})


def declared(file: Path) -> dict[str, WeightPreset]:
    """The presets of a YAML file, {name: {source, weights, own}}; heads that one does not name weigh nothing.

    own: weights by role of a dataset's own actions (see WeightPreset). Raises WeightError.
    """
    return {
        name: WeightPreset(
            name,
            preset["source"],
            {**dict.fromkeys(HEADS, 0.0), **preset["weights"]},
            _own_weights(name, preset.get("own", {})),
        )
        for name, preset in yaml.safe_load(file.read_text()).items()
    }


def _own_weights(preset: str, by_role: Mapping[str, float]) -> dict[str, float]:
    if odd := [role for role in by_role if role not in list(Role)]:
        raise WeightError(f"preset {preset!r} weighs own actions of role {odd[0]!r}; the roles are {', '.join(Role)}")
    return {slot: weight for role, weight in by_role.items() for slot in OWN_SLOTS[Role(role)]}


PRESETS: dict[str, WeightPreset] = declared(Path(__file__).with_name("weight_presets.yaml"))

DEFAULT_PRESET = "balanced"


def preset_named(name: str) -> WeightPreset:
    """The preset of that name; WeightError lists the names there are."""
    if name not in PRESETS:
        raise WeightError(f"there is no weight preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def offset(weighted_sum: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The epsilon offset of the 2023 home mixer: order is kept, all scores are >= 0, negatives end below EPSILON.

    `weighted_sum` is (n,) float; `weights` (heads,) are the weights that made it.
    """
    absolute = np.abs(weights).sum()
    if absolute == 0:
        return np.maximum(weighted_sum, 0.0)
    negative = np.abs(weights[weights < 0]).sum()
    return np.where(weighted_sum < 0, (weighted_sum + negative) / absolute * EPSILON, weighted_sum + EPSILON)


def weighted_score(probabilities: np.ndarray, preset: WeightPreset | str = DEFAULT_PRESET) -> np.ndarray:
    """Final score of each candidate: float64 (n,) >= 0 from `probabilities` (n, len(HEADS)) in the order of HEADS."""
    chosen = preset_named(preset) if isinstance(preset, str) else preset
    if probabilities.ndim != 2 or probabilities.shape[1] != len(HEADS):
        raise ValueError(f"probabilities have shape {probabilities.shape}; (n, {len(HEADS)}) is needed, in the order of HEADS")
    weights = chosen.vector()
    return offset(probabilities.astype(np.float64) @ weights, weights)


def contributions(probabilities: np.ndarray, preset: WeightPreset | str = DEFAULT_PRESET) -> np.ndarray:
    """What each head adds to the weighted sum before the offset: float64 (n, len(HEADS)), for explanations."""
    chosen = preset_named(preset) if isinstance(preset, str) else preset
    return probabilities.astype(np.float64) * chosen.vector()
