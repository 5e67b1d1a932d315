"""What a training draws: batches and dropout, a function of the seed and the step alone, so that any step can be resumed at."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


def seed_random(*what: object) -> None:
    """Seed torch's generators of every device with a hash of `what`: near seeds and steps have unrelated draws."""
    digest = hashlib.blake2b("/".join(map(str, what)).encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest) >> 1)


@dataclass(frozen=True)
class Batches:
    """The batches of all epochs by step: every epoch goes through all `rows` once, in an order of its own."""

    rows: int
    batch: int
    seed: int

    @property
    def per_epoch(self) -> int:
        return -(-self.rows // self.batch)

    def at(self, step: int) -> Tensor:
        """Row indices, int64 (up to `batch`,), of `step`, 0-based over all epochs."""
        epoch, index = divmod(step, self.per_epoch)
        return _order(self.rows, self.seed * 1_000 + epoch)[index * self.batch : (index + 1) * self.batch]


@lru_cache(maxsize=2)
def _order(rows: int, seed: int) -> Tensor:
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
