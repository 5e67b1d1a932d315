"""Named weight presets: how much each predicted action is worth, within declared bounds, and the final score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from feature_repo.feature_rows import HEADS

EPSILON = 0.001  # net-negative posts rank inside [0, EPSILON), below every net-positive one


@dataclass(frozen=True)
class Bounds:
    """Inclusive range that a person or an experiment may move a weight within."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


# A head that stands for displeasure may never be rewarded, and one that stands for pleasure never punished.
BOUNDS: dict[str, Bounds] = {
    "click": Bounds(0.0, 20.0),
    "video_view": Bounds(0.0, 20.0),
    "like": Bounds(0.0, 20.0),
    "profile_click": Bounds(0.0, 20.0),
    "follow": Bounds(0.0, 50.0),
    "reply": Bounds(0.0, 50.0),
    "share": Bounds(0.0, 50.0),
    "not_interested": Bounds(-400.0, 0.0),
}


class WeightError(ValueError):
    """A preset or a tuned weight is unknown or out of its bounds."""


@dataclass(frozen=True)
class WeightPreset:
    """Weights by head, in the order of HEADS, with where they come from."""

    name: str
    source: str
    weights: dict[str, float]

    def __post_init__(self) -> None:
        if set(self.weights) != set(HEADS):
            raise WeightError(f"preset {self.name!r} weighs {sorted(self.weights)}; the heads are {sorted(HEADS)}")
        for head, weight in self.weights.items():
            if weight not in BOUNDS[head]:
                bound = BOUNDS[head]
                raise WeightError(f"{self.name}.{head} = {weight} is outside [{bound.low}, {bound.high}]")

    def vector(self) -> np.ndarray:
        """float64 (len(HEADS),)."""
        return np.array([self.weights[head] for head in HEADS])

    def tuned(self, changes: Mapping[str, float]) -> WeightPreset:
        """A copy with some weights moved within their bounds; WeightError names the head that is unknown or out of them."""
        for head in changes:
            if head not in self.weights:
                raise WeightError(f"there is no head {head!r} to weigh; the heads are {', '.join(HEADS)}")
        return replace(self, name=f"{self.name}+tuned", weights={**self.weights, **changes})


def _preset(name: str, source: str, **weights: float) -> WeightPreset:
    return WeightPreset(name, source, weights)


PRESETS: dict[str, WeightPreset] = {
    preset.name: preset
    for preset in (
        _preset(
            "balanced",
            "Default. Clicks and quality views carry the order; rarer, costlier actions add to it; displeasure weighs most.",
            click=1.0,
            video_view=1.0,
            like=2.0,
            profile_click=1.0,
            follow=4.0,
            reply=5.0,
            share=2.0,
            not_interested=-40.0,
        ),
        _preset(
            "home_mixer_2023",
            "twitter/the-algorithm-ml, projects/home/recap, 5 April 2023: fav .5, retweet 1 (here share), reply 13.5, "
            "good profile click 12, video playback 50 % .005, good click 11, negative feedback -74. No head for follow then.",
            click=11.0,
            video_view=0.005,
            like=0.5,
            profile_click=12.0,
            follow=0.0,
            reply=13.5,
            share=1.0,
            not_interested=-74.0,
        ),
        _preset(
            "x_2026",
            "xai-org/x-algorithm, RankingScorer, August 2026: favorite .5, reply 5, share 2, follow author 4, click .4, "
            "profile click 0, video quality view .05, not interested -43.2.",
            click=0.4,
            video_view=0.05,
            like=0.5,
            profile_click=0.0,
            follow=4.0,
            reply=5.0,
            share=2.0,
            not_interested=-43.2,
        ),
        _preset(
            "clicks_only",
            "The click head alone: for judging a ranker on one logged outcome.",
            click=1.0,
            video_view=0.0,
            like=0.0,
            profile_click=0.0,
            follow=0.0,
            reply=0.0,
            share=0.0,
            not_interested=0.0,
        ),
    )
}

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
