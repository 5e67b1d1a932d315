"""Boosted trees, one model an action: a second, differently made opinion beside the heavy ranker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from feature_repo.feature_rows import HEADS, FeatureRows

if TYPE_CHECKING:
    import lightgbm as lgb


def tree_features(rows: FeatureRows) -> np.ndarray:
    """float32 (n, dense + 2): the dense blocks, then product and topic as categories, NaN for none.

    LightGBM takes a negative category for none as well, but says so on standard output, where commands write their JSON.
    """
    categories = (np.where(column < 0, np.nan, column).astype(np.float32) for column in (rows.product, rows.topic))
    return np.column_stack([rows.dense(), *categories])


@dataclass(frozen=True)
class Trees:
    """LightGBM models by head; the heads without one answer `rates`, float32 (len(HEADS),)."""

    models: Mapping[str, lgb.Booster]
    rates: np.ndarray

    def predict(self, rows: FeatureRows, threads: int = 1) -> np.ndarray:
        """Probability of each action, float32 (n, len(HEADS)); a row's is the same whatever else is asked."""
        asked = tree_features(rows)
        out = np.repeat(self.rates[None, :], len(rows), axis=0)
        for head, model in self.models.items():
            if len(rows):
                out[:, HEADS.index(head)] = model.predict(asked, num_threads=threads)
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """LightGBM's own text of every model as bytes, and the rates: nothing that is run when it is read."""
        texts = {f"tree.{head}": model.model_to_string().encode() for head, model in self.models.items()}
        return {"rates": self.rates, **{name: np.frombuffer(text, np.uint8) for name, text in texts.items()}}

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> Trees:
        import lightgbm as lgb

        texts = {name.removeprefix("tree."): array.tobytes() for name, array in arrays.items() if name.startswith("tree.")}
        return Trees({head: lgb.Booster(model_str=texts[head].decode()) for head in HEADS if head in texts}, arrays["rates"])
