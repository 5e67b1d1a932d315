"""Embedding tables of hashed ids."""

from __future__ import annotations

from torch import nn


class Table(nn.Embedding):
    """An embedding of `rows` ids, drawn from a normal distribution.

    Every place that reads it in a training step costs a gradient of the whole table, all but zero: best read it at one.
    """

    def __init__(self, rows: int, d: int, deviation: float) -> None:
        super().__init__(rows, d)
        nn.init.normal_(self.weight, std=deviation)
