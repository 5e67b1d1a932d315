"""Served vectors beside recomputed ones: what the consistency check compares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RANKING = "ranking."  # the ranker's blocks are no families of the catalogue, though four bear the same name


@dataclass(frozen=True)
class VectorPairs:
    """n vectors of one family. A vector in flight holds events of which nobody can say whether it should hold them."""

    family: str
    features: tuple[str, ...]
    keys: tuple[str, ...]  # of each vector, for people
    served: np.ndarray  # float32 (n, len(features))
    recomputed: np.ndarray  # float32 (n, len(features))
    in_flight: np.ndarray  # bool (n,): not to be judged
    behind: np.ndarray  # bool (n,): lacks events that were saved before it was read

    def __len__(self) -> int:
        return len(self.keys)
