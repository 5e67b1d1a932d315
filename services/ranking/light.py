"""The light ranker: logistic regression on the dense blocks and the product, for the many candidates before the heavy one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from feature_repo.feature_rows import MODEL_BLOCKS, FeatureRows
from services.ranking.compiled import POST_BLOCKS
from services.ranking.inputs import PRODUCT_ROWS, product_rows
from services.ranking.normalise import Normaliser


@dataclass(frozen=True)
class LightRanker:
    """Weights by block (width,), a bias by surface, and the intercept; the score is a logit."""

    blocks: dict[str, np.ndarray]  # float32 (width,)
    product: np.ndarray  # float32 (PRODUCT_ROWS,)
    intercept: float
    surfaces: tuple[int, ...] = ()  # codes of the surfaces it tells apart, ascending

    def logits(self, rows: FeatureRows, normaliser: Normaliser, posts: np.ndarray | None = None) -> np.ndarray:
        """float32 (n,): log-odds that the candidate is engaged with. `posts`, float32 (n,): the POST_BLOCKS' part, if known."""
        total = np.full(len(rows), self.intercept, np.float32)
        total += self.product[product_rows(rows.product, self.surfaces)]
        if posts is not None:
            total += posts
        for name in MODEL_BLOCKS:
            if name in self.blocks and (posts is None or name not in POST_BLOCKS):
                total += normaliser.apply(name, rows.blocks[name]) @ self.blocks[name]
        return total

    def post_logits(self, normalised: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """The part of the logit that posts have whoever asks, float32 (count,), from their normalised POST_BLOCKS."""
        total = np.zeros(count, np.float32)
        for name in POST_BLOCKS:
            if name in self.blocks:
                total += normalised[name] @ self.blocks[name]
        return total

    def arrays(self) -> dict[str, np.ndarray]:
        """Flat named arrays, for storage."""
        named = {f"block.{name}": weights for name, weights in self.blocks.items()}
        surfaces = np.array(self.surfaces, np.int32)
        return {**named, "product": self.product, "intercept": np.array([self.intercept], np.float32), "surfaces": surfaces}

    @staticmethod
    def from_arrays(arrays: dict[str, np.ndarray]) -> LightRanker:
        blocks = {key.removeprefix("block."): array for key, array in arrays.items() if key.startswith("block.")}
        return LightRanker(blocks, arrays["product"], float(arrays["intercept"][0]), tuple(arrays["surfaces"].tolist()))

    @staticmethod
    def zeros(widths: dict[str, int]) -> LightRanker:
        return LightRanker(
            {name: np.zeros(width, np.float32) for name, width in widths.items()}, np.zeros(PRODUCT_ROWS, np.float32), 0.0
        )
