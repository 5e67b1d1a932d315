"""Boosted trees, one model an action: a second, differently made opinion beside the heavy ranker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from feature_repo.feature_rows import FeatureRows
from feature_repo.heads import HEADS
from services.ranking.inputs import product_rows

if TYPE_CHECKING:
    import lightgbm as lgb


def tree_features(rows: FeatureRows, surfaces: Sequence[int]) -> np.ndarray:
    """float32 (n, dense + 2): the dense blocks, then `product_rows` of the surface and topic as categories, NaN for none.

    LightGBM takes a negative category for none as well, but says so on standard output, where commands write their JSON.
    """
    surface = product_rows(rows.product, surfaces).astype(np.float32)
    surface[surface == 0] = np.nan
    topic = np.where(rows.topic < 0, np.nan, rows.topic).astype(np.float32)
    return np.column_stack([rows.dense(), surface, topic])


@dataclass(frozen=True)
class Trees:
    """LightGBM models by head; the heads without one answer `rates`, float32 (len(HEADS),). `surfaces`: see `tree_features`."""

    models: Mapping[str, lgb.Booster]
    rates: np.ndarray
    surfaces: tuple[int, ...] = ()

    def predict(self, rows: FeatureRows, threads: int = 1) -> np.ndarray:
        """Probability of each action, float32 (n, len(HEADS)); a row's is the same whatever else is asked."""
        asked = tree_features(rows, self.surfaces)
        out = np.repeat(self.rates[None, :], len(rows), axis=0)
        for head, model in self.models.items():
            if len(rows):
                out[:, HEADS.index(head)] = model.predict(asked, num_threads=threads)
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """LightGBM's own text of every model as bytes, and the rates: nothing that is run when it is read."""
        texts = {f"tree.{head}": model.model_to_string().encode() for head, model in self.models.items()}
        named = {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}
        return {"rates": self.rates, "surfaces": np.array(self.surfaces, np.int32), **named}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> Trees:
        import lightgbm as lgb

        texts = {name.removeprefix("tree."): array.tobytes() for name, array in arrays.items() if name.startswith("tree.")}
        models = {head: lgb.Booster(model_str=texts[head].decode()) for head in HEADS if head in texts}
        return Trees(models, arrays["rates"], tuple(arrays["surfaces"].tolist()))
