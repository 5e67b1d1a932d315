"""Embedding tables of hashed ids."""

from __future__ import annotations

from torch import nn


class Table(nn.Embedding):
    """An embedding of `rows` ids, drawn from a normal distribution.

    A place that reads it in training costs a gradient of the whole table, all but zero: a step reads it at one place.
    """

    def __init__(self, rows: int, d: int, deviation: float) -> None:
        super().__init__(rows, d)
        nn.init.normal_(self.weight, std=deviation)
