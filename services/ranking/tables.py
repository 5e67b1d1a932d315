"""Embedding tables of hashed ids, of which a training step may take out the rows that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Table(nn.Embedding):
    """An embedding of `rows` ids, drawn from a normal distribution."""

    def __init__(self, rows: int, d: int, deviation: float) -> None:
        super().__init__(rows, d)
        nn.init.normal_(self.weight, std=deviation)
        self._taken: tuple[Tensor, Tensor] | None = None

    def forward(self, ids: Tensor) -> Tensor:
        """(..., D) of ids of any shape."""
        if self._taken is None:
            return super().forward(ids)
        place, rows = self._taken
        return F.embedding(place[ids.long()], rows)

    @contextmanager
    def taken(self, ids: Tensor) -> Iterator[None]:
        """While the block runs, only the rows of `ids` (any shape) can be looked up; gradients are the same, bit for bit.

        Each place that reads a table has a gradient of the table's size, all but zero, to be filled and added. Read through
        the rows that were taken out, it has one of their size, and the table one a step. Another id raises IndexError.
        """
        distinct = ids.unique().long()
        place = torch.full((self.num_embeddings,), -1, device=ids.device)
        place[distinct] = torch.arange(len(distinct), device=ids.device)
        self._taken = place, super().forward(distinct)
        try:
            yield
        finally:
            self._taken = None


@contextmanager
def taken(model: nn.Module, ids: dict[str, list[Tensor]]) -> Iterator[None]:
    """`Table.taken` of the model's tables, by name, each with the ids of all places that will read it."""
    with ExitStack() as entered:
        for name, parts in ids.items():
            entered.enter_context(getattr(model, name).taken(torch.cat([part.flatten() for part in parts])))
        yield
