"""Dense features to the range a network likes: signed log, standardise, clip (the heavy ranker's published recipe)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CLIP = 5.0  # standard deviations; as in the published heavy ranker
_CHUNK = 16_384  # rows; bounds the float64 scratch memory of `fit`


def signed_log(values: np.ndarray) -> np.ndarray:
    """sign(x) * log(1 + |x|), float32."""
    values = np.asarray(values, np.float32)
    return np.copysign(np.log1p(np.abs(values)), values)


@dataclass(frozen=True)
class BlockNormaliser:
    """Standardisation of one block. `mean` and `scale` are float32 (width,), in signed-log space."""

    mean: np.ndarray
    scale: np.ndarray  # 1 / standard deviation; 0 for a column that was constant in training

    @staticmethod
    def fit(block: np.ndarray) -> BlockNormaliser:
        """Learn from float (n, width); values that are not finite are left out."""
        width = block.shape[1]
        count, total, squares = np.zeros(width), np.zeros(width), np.zeros(width)
        for start in range(0, len(block), _CHUNK):
            part = signed_log(block[start : start + _CHUNK]).astype(np.float64)
            finite = np.isfinite(part)
            part[~finite] = 0.0
            count += finite.sum(0)
            total += part.sum(0)
            squares += np.square(part).sum(0)
        count = np.maximum(count, 1)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
        varies = deviation > 1e-6
        scale = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
        return BlockNormaliser(mean.astype(np.float32), scale.astype(np.float32))

    def apply(self, block: np.ndarray) -> np.ndarray:
        """float32 (n, width) within +-CLIP; a value that is not finite becomes 0, the training mean."""
        if block.shape[1] != len(self.mean):
            raise ValueError(f"block is {block.shape[1]} wide, but the model was trained on {len(self.mean)} columns: retrain")
        scaled = signed_log(block)
        scaled -= self.mean
        scaled *= self.scale
        np.clip(scaled, -CLIP, CLIP, out=scaled)
        return np.nan_to_num(scaled, copy=False, nan=0.0)


@dataclass(frozen=True)
class Normaliser:
    """One BlockNormaliser per feature block."""

    blocks: dict[str, BlockNormaliser]

    @staticmethod
    def fit(blocks: Mapping[str, np.ndarray]) -> Normaliser:
        return Normaliser({name: BlockNormaliser.fit(block) for name, block in blocks.items()})

    @property
    def widths(self) -> dict[str, int]:
        return {name: len(block.mean) for name, block in self.blocks.items()}

    def apply(self, name: str, block: np.ndarray) -> np.ndarray:
        """Normalise block `name`. A block broadcast from one row (stride 0) is computed once and broadcast again."""
        if name not in self.blocks:
            raise KeyError(f"no statistics for block {name!r}; the model knows {sorted(self.blocks)}")
        if len(block) > 1 and block.strides[0] == 0:
            return np.broadcast_to(self.blocks[name].apply(block[:1]), block.shape)
        return self.blocks[name].apply(block)

    def arrays(self) -> dict[str, np.ndarray]:
        """Flat named arrays, for storage."""
        return {f"{name}.{part}": getattr(block, part) for name, block in self.blocks.items() for part in ("mean", "scale")}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> Normaliser:
        names = [key.removesuffix(".mean") for key in arrays if key.endswith(".mean")]
        return Normaliser({name: BlockNormaliser(arrays[f"{name}.mean"], arrays[f"{name}.scale"]) for name in names})
