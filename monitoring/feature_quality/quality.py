"""The quality of all features: columns, importance and duplicates put together by family. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from feature_repo.aggregates.catalogue import features_of
from feature_repo.catalogue_sample import FamilySample, SampledImpressions
from monitoring.feature_quality.columns import DRIFTED, column_quality
from monitoring.feature_quality.duplicates import duplicate_groups
from monitoring.feature_quality.importance import gains

SHOWN = 8  # features of a family that the page's short lists hold
PSI_STEPS = (0.1, DRIFTED, 0.5)  # bounds between calm, moved, drifted and gone


@dataclass(frozen=True)
class FeatureQuality:
    """One feature. `importance`: share of the total gain; None where it was not asked, being constant or a duplicate."""

    name: str
    null_share: float
    least: float
    median: float
    p99: float
    most: float
    psi: float
    constant: bool
    importance: float | None
    same_as: str | None  # the feature that it duplicates


@dataclass(frozen=True)
class FamilyQuality:
    """One family's features, in the catalogue's order."""

    family: str
    words: str
    owner: str
    known_share: float  # of the sampled impressions, those whose key something had happened to
    features: tuple[FeatureQuality, ...]

    @property
    def importance(self) -> float:
        """Share of the total gain."""
        return sum(one.importance or 0.0 for one in self.features)

    @property
    def null_share(self) -> float:
        return float(np.mean([one.null_share for one in self.features]))

    @property
    def constant(self) -> list[FeatureQuality]:
        return [one for one in self.features if one.constant]

    @property
    def unused(self) -> list[FeatureQuality]:
        """Features that vary, duplicate none, and earned nothing."""
        return [one for one in self.features if one.importance == 0.0]

    @property
    def duplicates(self) -> list[FeatureQuality]:
        return [one for one in self.features if one.same_as is not None]

    @property
    def drifted(self) -> list[FeatureQuality]:
        return [one for one in self.features if one.psi >= DRIFTED]

    @property
    def useful(self) -> list[FeatureQuality]:
        """The most important features."""
        earned = [one for one in self.features if one.importance]
        return sorted(earned, key=lambda one: -(one.importance or 0.0))[:SHOWN]

    @property
    def moved(self) -> list[FeatureQuality]:
        """The features that drifted most."""
        return sorted(self.drifted, key=lambda one: -one.psi)[:SHOWN]

    @property
    def psi_counts(self) -> tuple[int, ...]:
        """How many features are calm, moved, drifted and gone, by PSI_STEPS."""
        steps = np.searchsorted(PSI_STEPS, [one.psi for one in self.features], side="right")
        return tuple(np.bincount(steps, minlength=len(PSI_STEPS) + 1).tolist())

    def to_dict(self) -> dict[str, Any]:
        """The figures of the family, without its features."""
        return {
            "family": self.family,
            "owner": self.owner,
            "features": len(self.features),
            "known_share": self.known_share,
            "null_share": self.null_share,
            "importance": self.importance,
            "constant": len(self.constant),
            "unused": len(self.unused),
            "duplicates": len(self.duplicates),
            "drifted": len(self.drifted),
        }

    def feature_rows(self) -> list[dict[str, Any]]:
        """Every feature as plain values."""
        return [asdict(one) for one in self.features]


def judge_features(
    asked: SampledImpressions, samples: Sequence[FamilySample], *, seed: int, threads: int
) -> tuple[FamilyQuality, ...]:
    """Quality of the features of `samples`, which hold the values for the impressions `asked`.

    Importance is asked of the features that vary, one of each group of duplicates.
    """
    judged = [column_quality(sample.vectors[~asked.window], sample.vectors[asked.window]) for sample in samples]
    values = np.concatenate([sample.vectors for sample in samples], axis=1)
    constant = np.concatenate([one.constant for one in judged])
    same_as = np.full(len(constant), -1)
    for group in duplicate_groups(values):
        same_as[group[1:]] = group[0]
    asked_for = ~constant & (same_as < 0)
    importance = np.full(len(constant), np.nan)
    importance[asked_for] = gains(values[:, asked_for], asked.labels, seed=seed, threads=threads)
    names = [feature.name for sample in samples for feature in features_of(sample.family)]
    found, start = [], 0
    for sample, quality in zip(samples, judged, strict=True):
        family = sample.family
        features = tuple(
            FeatureQuality(
                name=names[start + place],
                null_share=float(quality.null_share[place]),
                least=float(quality.least[place]),
                median=float(quality.median[place]),
                p99=float(quality.p99[place]),
                most=float(quality.most[place]),
                psi=float(quality.psi[place]),
                constant=bool(quality.constant[place]),
                importance=None if np.isnan(importance[start + place]) else float(importance[start + place]),
                same_as=names[same_as[start + place]] if same_as[start + place] >= 0 else None,
            )
            for place in range(sample.vectors.shape[1])
        )
        found.append(FamilyQuality(family.name, family.words, family.owner, float(sample.known.mean()), features))
        start += len(features)
    return tuple(found)
