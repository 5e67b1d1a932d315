"""The heavy ranker, boosted trees and the post's own popularity, stacked by head: a weighted sum of their logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from feature_repo.feature_rows import HEADS, FeatureRows
from services.ranking.calibration import logit, sigmoid
from services.ranking.trees import Trees

INPUTS = ("heavy", "trees", "popularity", "constant")
HEAVY_ALONE = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Ensemble:
    """p = sigmoid(weights @ inputs) by head; a head with the weights HEAVY_ALONE keeps the heavy ranker's probability.

    `weights` float32 (len(HEADS), len(INPUTS)).
    """

    trees: Trees
    weights: np.ndarray

    @property
    def stacked(self) -> tuple[str, ...]:
        """The heads whose probability is not the heavy ranker's alone."""
        return tuple(head for head, weights in zip(HEADS, self.weights, strict=True) if tuple(weights) != HEAVY_ALONE)

    def apply(self, heavy: np.ndarray, rows: FeatureRows, names: tuple[str, ...], threads: int = 1) -> np.ndarray:
        """Probabilities float32 (n, len(HEADS)) from the heavy ranker's `heavy`; `names` are the post block's columns."""
        inputs = stack_inputs(heavy, self.trees.predict(rows, threads), rows, names)
        out = heavy.copy()
        for head in self.stacked:
            index = HEADS.index(head)
            # Not a matrix product: its rounding of a row depends on which rows are beside it.
            out[:, index] = sigmoid((inputs[:, index] * self.weights[index].astype(np.float64)).sum(axis=1))
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights, **self.trees.arrays()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> Ensemble:
        return Ensemble(Trees.from_arrays(arrays), arrays["weights"])


def stack_inputs(heavy: np.ndarray, trees: np.ndarray, rows: FeatureRows, names: tuple[str, ...]) -> np.ndarray:
    """float64 (n, len(HEADS), len(INPUTS)) from probabilities (n, len(HEADS)) of the heavy ranker and of the trees.

    Popularity is the post's smoothed rate of the action since its first event; 0 where the post block does not hold it.
    """
    inputs = np.ones((len(rows), len(HEADS), len(INPUTS)))
    inputs[:, :, 0], inputs[:, :, 1] = logit(heavy), logit(trees)
    places = [names.index(f"{head}_rate.all") if f"{head}_rate.all" in names else -1 for head in HEADS]
    for index, place in enumerate(places):
        inputs[:, index, 2] = logit(rows.blocks["post"][:, place]) if place >= 0 else 0.0
    return inputs
