"""How far served vectors are from recomputed ones. Pure: arrays in, one record a family out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from feature_repo.recomputation.vector_pairs import VectorPairs

# Both sides are float32 sums of the same events in another order: they differ by rounding, and by nothing else.
RELATIVE, ABSOLUTE = 1e-3, 1e-4
WORST_SHOWN = 5


@dataclass(frozen=True)
class FeatureMismatch:
    """One feature that differs, with the pair in which it differs most."""

    name: str
    vectors: int  # in how many vectors
    key: str
    served: float
    recomputed: float


@dataclass(frozen=True)
class FamilyMismatch:
    """What was found in one family. Shares are of the vectors and values that could be judged, 0 where there are none."""

    family: str
    sampled: int
    in_flight: int  # not judged: events of theirs were on their way when they were read
    judged: int
    differing: int  # vectors with at least one value beyond the tolerance, or behind
    behind: int  # of those, vectors that lack events they should hold
    share_of_vectors: float
    share_of_values: float
    worst: tuple[FeatureMismatch, ...]  # the most often differing features first

    @property
    def headline(self) -> str:
        """The family, its share and its worst feature, in one line."""
        said = f"{self.family}: {self.differing:,} of {self.judged:,} vectors differ ({self.share_of_vectors:.2%})"
        if self.behind:
            said += f", {self.behind:,} of them lack events that were saved before they were read"
        if self.worst:
            one = self.worst[0]
            said += f"; worst feature {one.name} ({one.key}: served {one.served:.6g}, recomputed {one.recomputed:.6g})"
        return said

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_pairs(pairs: VectorPairs) -> FamilyMismatch:
    """Judge the pairs of one family that are not in flight."""
    judged = np.flatnonzero(~pairs.in_flight)
    served, recomputed = pairs.served[judged].astype(float), pairs.recomputed[judged].astype(float)
    differs = beyond_tolerance(served, recomputed)
    behind = pairs.behind[judged]
    bad = differs.any(axis=1) | behind
    return FamilyMismatch(
        family=pairs.family,
        sampled=len(pairs),
        in_flight=int(pairs.in_flight.sum()),
        judged=len(judged),
        differing=int(bad.sum()),
        behind=int(behind.sum()),
        share_of_vectors=_share(bad),
        share_of_values=_share(differs),
        worst=_worst(pairs, judged, served, recomputed, differs),
    )


def beyond_tolerance(served: np.ndarray, recomputed: np.ndarray) -> np.ndarray:
    """True where two values are not the same but for rounding; a missing or infinite value is like none but its like.
    Any shape."""
    same = (served == recomputed) | (np.isnan(served) & np.isnan(recomputed))
    finite = np.isfinite(served) & np.isfinite(recomputed)
    one, other = np.where(finite, served, 0.0), np.where(finite, recomputed, 0.0)
    near = np.abs(one - other) <= ABSOLUTE + RELATIVE * np.maximum(np.abs(one), np.abs(other))
    return ~(same | (finite & near))


def _worst(
    pairs: VectorPairs, judged: np.ndarray, served: np.ndarray, recomputed: np.ndarray, differs: np.ndarray
) -> tuple[FeatureMismatch, ...]:
    counts = differs.sum(axis=0)
    with np.errstate(invalid="ignore"):  # a missing or infinite value is as far as can be
        apart = np.abs(served - recomputed) / (1.0 + np.abs(recomputed))
    relative = np.where(differs, np.nan_to_num(apart, nan=np.inf, posinf=np.inf), 0.0)
    # By how many vectors a feature differs in; where equally many, by how far.
    order = np.lexsort((-relative.max(axis=0, initial=0.0), -counts))
    found = []
    for column in order[:WORST_SHOWN]:
        if counts[column] == 0:
            break
        row = int(np.argmax(relative[:, column]))
        found.append(
            FeatureMismatch(
                name=pairs.features[column],
                vectors=int(counts[column]),
                key=pairs.keys[judged[row]],
                served=float(served[row, column]),
                recomputed=float(recomputed[row, column]),
            )
        )
    return tuple(found)


def _share(flags: np.ndarray) -> float:
    return float(flags.mean()) if flags.size else 0.0
