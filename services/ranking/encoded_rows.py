"""Rows encoded when they are asked for: what a network learns from batch by batch, without all of it in memory.

Stands where `RowTensors` of all rows would: the same `len`, `rows`, `blocks` and ids, read off FeatureRows whose arrays may be
mapped from disk. A batch costs about half as long again as gathering it from encoded rows (`tests.bench rows`), which is a
hundredth of a training step, so no thread reads ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from feature_repo.feature_rows import FeatureRows, History
from services.ranking.id_hashing import hash_ids
from services.ranking.inputs import RowTensors, TableBits, product_rows, row_tensors
from services.ranking.normalise import Normaliser


@dataclass(frozen=True)
class EncodedBlock:
    """One normalised block of n rows, computed for the rows that are asked for: `block[index]` is float32 (k, width)."""

    block: np.ndarray  # float (rows, width), as it is stored
    chosen: np.ndarray  # int64 (n,)
    normaliser: Normaliser
    name: str

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.chosen), self.block.shape[1]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.normaliser.apply(self.name, self.block[self.chosen[index.numpy()]]))


@dataclass(frozen=True)
class EncodedRows:
    """The rows of `source` at `chosen` (int64 (n,), all by default), normalised and hashed when they are asked for."""

    source: FeatureRows
    normaliser: Normaliser
    bits: TableBits = TableBits()
    chosen: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.source.history) != len(self.source):
            raise ValueError(
                f"{len(self.source)} rows share {len(self.source.history)} histories; rows that are read in any order "
                "need one each"
            )
        if self.chosen is None:
            object.__setattr__(self, "chosen", np.arange(len(self.source)))

    def __len__(self) -> int:
        return len(self.chosen)

    def rows(self, index: torch.Tensor) -> RowTensors:
        """The rows at `index` (int64 (k,)), in memory: equal, bit for bit, to those of `row_tensors` of all rows."""
        return row_tensors(self.source.take(self.chosen[index.numpy()]), self.normaliser, self.bits)

    def candidates(self, index: torch.Tensor) -> RowTensors:
        """`rows` without their histories, of which nothing is read: all share an empty one."""
        return row_tensors(self._without_history.take(self.chosen[index.numpy()]), self.normaliser, self.bits)

    @cached_property
    def _without_history(self) -> FeatureRows:
        return replace(self.source, history=History.empty(1))

    def select(self, index: torch.Tensor) -> EncodedRows:
        """The rows at `index` as such rows again: nothing is read."""
        return EncodedRows(self.source, self.normaliser, self.bits, self.chosen[index.numpy()])

    @cached_property
    def blocks(self) -> dict[str, EncodedBlock]:
        return {
            name: EncodedBlock(self.source.blocks[name], self.chosen, self.normaliser, name) for name in self.normaliser.widths
        }

    # Ids are 4 bytes a row and column; whoever wants them of all rows (the two-tower's draws of posts) has them in memory.
    @cached_property
    def post(self) -> torch.Tensor:
        """int32 embedding rows (n,), as the other ids."""
        return torch.from_numpy(hash_ids(self.source.post_id[self.chosen], self.bits.post))

    @cached_property
    def author(self) -> torch.Tensor:
        return torch.from_numpy(hash_ids(self.source.author_id[self.chosen], self.bits.author))

    @cached_property
    def topic(self) -> torch.Tensor:
        return torch.from_numpy(hash_ids(self.source.topic[self.chosen], self.bits.topic))

    @cached_property
    def product(self) -> torch.Tensor:
        return torch.from_numpy(product_rows(self.source.product[self.chosen], self.bits.surfaces))
